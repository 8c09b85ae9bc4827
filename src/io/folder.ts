import { type Dirent, existsSync } from "node:fs";
import { mkdir, readdir, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { NotFoundError } from "../errors.ts";
import { readError, systemErrorCode } from "./regular-file.ts";

/** Makes a folder and those above it. One call per folder: `mkdir` with `recursive` never returns where the system says of a
 *  folder that is there that it is not, as below /proc.
 *  @throws the system's error */
export async function makeFolder(path: string): Promise<void> {
  const missing: string[] = [];
  for (let at = resolve(path); !existsSync(at) && dirname(at) !== at; at = dirname(at)) missing.push(at);
  for (const folder of missing.reverse())
    await mkdir(folder).catch((error) => {
      if (systemErrorCode(error) !== "EEXIST") throw error; // another process was faster
    });
  if (missing.length === 0 && !(await stat(path)).isDirectory())
    throw Object.assign(new Error(`${path} is not a folder`), { code: "EEXIST" });
}

/** Names in a folder. @throws NotFoundError; FormatError if it is not a readable folder */
export async function readFolder(path: string): Promise<string[]> {
  return (await readEntries(path)).map((entry) => entry.name);
}

/** What is in a folder. @throws as `readFolder` */
export async function readEntries(path: string): Promise<Dirent[]> {
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (error) {
    throw systemErrorCode(error) === "ENOENT"
      ? new NotFoundError(`${path}: no such folder`, { cause: error })
      : systemErrorCode(error) === "ENOTDIR"
        ? new NotFoundError(`${path}: is a file, not a folder`, { cause: error })
        : readError(path, error);
  }
}

/** Bytes of the files in a folder and in the folders in it; 0 where there is none. */
export async function bytesBelow(
  folder: string,
  accepts: (name: string) => boolean = () => true,
): Promise<number> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const sizes = entries.map(async (e) => {
    if (e.isDirectory()) return bytesBelow(join(folder, e.name), accepts);
    return accepts(e.name) ? (await stat(join(folder, e.name))).size : 0;
  });
  return (await Promise.all(sizes)).reduce((a, b) => a + b, 0);
}
