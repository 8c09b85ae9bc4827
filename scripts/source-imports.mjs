// Who imports whom in a source folder, as TypeScript's own parser reads it (import, export … from, import type, import()).
import { readdirSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { API } from "@typescript/native/unstable/sync";

/** Room of a file: the folder in `source` that holds it, or the name of a file that lies there (errors, index). */
export function roomOf(source, path) {
  return relative(source, path).split(sep)[0].replace(/\.ts$/, "");
}

function sourceFiles(source) {
  const entries = readdirSync(source, { recursive: true }).filter((name) => name.endsWith(".ts"));
  return entries.sort().map((name) => join(source, name));
}

/** Imports between the rooms of a source folder: how many files of `from` name a file of `to`. Sorted by name.
 *  @returns {{ rooms: string[], imports: { from: string, to: string, count: number }[] }} */
export function importsBetweenRooms(source) {
  const files = sourceFiles(source);
  const counts = new Map();
  for (const [path, targets] of importsOf(files)) {
    for (const target of targets) {
      const [from, to] = [roomOf(source, path), roomOf(source, target)];
      if (from !== to) counts.set(`${from} ${to}`, (counts.get(`${from} ${to}`) ?? 0) + 1);
    }
  }
  const imports = [...counts].sort().map(([key, count]) => {
    const [from, to] = key.split(" ");
    return { from, to, count };
  });
  return { rooms: [...new Set(files.map((path) => roomOf(source, path)))].sort(), imports };
}

/** Relative imports of each file, as absolute paths. */
function importsOf(files) {
  const api = new API({ cwd: dirname(files[0]) });
  try {
    const snapshot = api.updateSnapshot({ openFiles: files });
    return files.map((path) => {
      const file = snapshot.getDefaultProjectForFile(path)?.program.getSourceFile(path);
      if (file === undefined) throw new Error(`${path}: TypeScript has not read it`);
      const names = file.imports.map(({ text }) => text).filter((name) => name.startsWith("."));
      return [path, names.map((name) => resolve(dirname(path), name))];
    });
  } finally {
    api.close();
  }
}
