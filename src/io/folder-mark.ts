import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";

import { FormatError } from "../errors.ts";

const MAX_FILES = 1000;

/** What changes when a file does. */
export function fileMark(
  name: string,
  { size, mtimeMs, ino }: { readonly size: number; readonly mtimeMs: number; readonly ino: number },
): string {
  return `${name} ${size} ${mtimeMs} ${ino}`;
}

/** Files of a folder and of the folders in it, not deeper, in order. @throws the system's error, FormatError for more than 1000 */
export async function filesOf(path: string): Promise<string[]> {
  const files: string[] = [];
  for (const entry of await readdir(path, { withFileTypes: true })) {
    if (!entry.isDirectory()) files.push(entry.name);
    else
      for (const inner of await readdir(join(path, entry.name), { withFileTypes: true }))
        if (!inner.isDirectory()) files.push(`${entry.name}/${inner.name}`);
    if (files.length > MAX_FILES) throw new FormatError(path, `holds more than ${MAX_FILES} files`);
  }
  return files.sort();
}

/** What changes when a file does, or one of a folder's. @throws the system's error */
export async function pathMark(path: string): Promise<string> {
  const info = await stat(path);
  if (!info.isDirectory()) return fileMark("", info);
  const names = await filesOf(path);
  const marks = await Promise.all(names.map(async (name) => fileMark(name, await stat(join(path, name)))));
  return marks.join("\n");
}
