import { rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { openFile, readBytes, storing, writeFileAtomic } from "../disk.ts";
import { readFolder } from "../folder.ts";
import type { Storage } from "./storage.ts";

/** A folder on disk. */
export function folderStorage(folder: string): Storage {
  return diskStorage(folder, (name) => join(folder, name));
}

/** Files by their paths, as whoever names them wrote these. */
export const pathStorage: Storage = diskStorage("", (path) => path);

function diskStorage(path: string, pathOf: (name: string) => string): Storage {
  return {
    path,
    pathOf,
    list: () => readFolder(path),
    size: (name) =>
      stat(pathOf(name)).then(
        ({ size }) => size,
        () => null,
      ),
    open: (name) => openFile(pathOf(name)),
    read: (name, limitBytes) => readBytes(pathOf(name), limitBytes),
    write: (name, content) => writeFileAtomic(pathOf(name), content),
    rename: (from, to) => storing(pathOf(to), () => rename(pathOf(from), pathOf(to))),
    remove: (name) => storing(pathOf(name), () => rm(pathOf(name), { force: true })),
  };
}
