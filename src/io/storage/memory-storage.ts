import { NotFoundError } from "../../errors.ts";
import { bytesFile } from "./bytes-file.ts";
import { madeStorage, wholeContent } from "./made-storage.ts";
import type { Storage } from "./storage.ts";

/** Files in memory. `read` of a whole file copies it. */
export function memoryStorage(path = "memory", files: Iterable<readonly [string, Uint8Array]> = []): Storage {
  const held = new Map(files);
  return madeStorage({
    path,
    list: async () => [...held.keys()],
    find: async (name) => {
      const bytes = held.get(name);
      if (bytes === undefined) return null;
      return bytesFile(`${path}/${name}`, {
        sizeBytes: bytes.length,
        modifiedMs: 0,
        slice: async (start, end) => bytes.subarray(start, end),
      });
    },
    change: {
      write: async (name, content) => {
        held.set(name, await wholeContent(content));
      },
      remove: async (name) => {
        held.delete(name);
      },
      rename: async (from, to) => {
        const bytes = held.get(from);
        if (bytes === undefined) throw new NotFoundError(`${path}/${from}: no such file`);
        held.delete(from);
        held.set(to, bytes);
      },
    },
  });
}
