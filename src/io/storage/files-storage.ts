import { blobFile } from "./bytes-file.ts";
import { madeStorage } from "./made-storage.ts";
import type { Storage } from "./storage.ts";

/** A file that a page was given. */
export interface GivenFile extends Blob {
  readonly name: string;
  readonly lastModified: number;
  /** Its path from the folder that was picked, that folder's name included; "" where files were picked. */
  readonly webkitRelativePath?: string;
}

/** Files that a page was given: dropped on it, picked one by one, or as a folder. They are read where they lie, and only read. */
export function filesStorage(files: Iterable<GivenFile>, path = ""): Storage {
  const byName = new Map([...files].map((file) => [nameOf(file), file]));
  return madeStorage({
    path,
    list: async () => [...new Set([...byName.keys()].map((name) => name.split("/")[0] as string))],
    find: async (name) => {
      const file = byName.get(name);
      return file === undefined
        ? null
        : blobFile(path === "" ? name : `${path}/${name}`, file, file.lastModified);
    },
    change: null,
  });
}

/** Of a picked folder, the path below it. */
function nameOf({ name, webkitRelativePath = "" }: GivenFile): string {
  return webkitRelativePath === "" ? name : webkitRelativePath.split("/").slice(1).join("/");
}
