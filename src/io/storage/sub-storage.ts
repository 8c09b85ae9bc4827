import type { Storage } from "./storage.ts";

/** The files of a folder of a storage. It lists what a storage lists by whole names. */
export function inFolder(storage: Storage, folder: string): Storage {
  const below = (name: string): string => `${folder}/${name}`;
  return {
    path: storage.pathOf(folder),
    pathOf: (name) => storage.pathOf(below(name)),
    list: async () =>
      (await storage.list()).flatMap((name) =>
        name.startsWith(`${folder}/`) ? [name.slice(folder.length + 1)] : [],
      ),
    size: (name) => storage.size(below(name)),
    open: (name) => storage.open(below(name)),
    read: (name, limitBytes) => storage.read(below(name), limitBytes),
    write: (name, content) => storage.write(below(name), content),
    rename: (from, to) => storage.rename(below(from), below(to)),
    remove: (name) => storage.remove(below(name)),
  };
}
