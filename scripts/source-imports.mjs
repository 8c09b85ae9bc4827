// Who imports whom in a source folder, as TypeScript reads it (import, export … from, import type, import()).
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import ts from "typescript";

/** Room of a file: the folder in `source` that holds it, or the name of a file that lies there (errors, index). */
function roomOf(source, path) {
  return relative(source, path).split(sep)[0].replace(/\.ts$/, "");
}

/** The files of a source folder, sorted. */
export function sourceFiles(source) {
  const entries = readdirSync(source, { recursive: true }).filter((name) => name.endsWith(".ts"));
  return entries.sort().map((name) => join(source, name));
}

/** Relative imports of a file, as absolute paths. */
export function importsOf(path) {
  const { importedFiles } = ts.preProcessFile(readFileSync(path, "utf8"));
  const names = importedFiles.map(({ fileName }) => fileName).filter((name) => name.startsWith("."));
  return names.map((name) => resolve(dirname(path), name));
}

/** Imports between the rooms of a source folder: how often a file of `from` names a file of `to`. Sorted by name.
 *  @returns {{ rooms: string[], imports: { from: string, to: string, count: number }[] }} */
export function importsBetweenRooms(source) {
  const files = sourceFiles(source);
  const counts = new Map();
  for (const path of files) {
    for (const target of importsOf(path)) {
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
