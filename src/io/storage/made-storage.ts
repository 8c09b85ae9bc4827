import { FormatError, LowrankError, NotFoundError } from "../../errors.ts";
import { concatBytes, utf8Of } from "../bytes.ts";
import { SMALL_FILE_BYTES } from "../limits.ts";
import type { FileContent, RandomAccessFile, Storage } from "./storage.ts";

/** What a kind of storage does itself; the rest follows. */
export interface StorageParts {
  readonly path: string;
  list(): Promise<string[]>;
  /** null where there is no such file. */
  find(name: string): Promise<RandomAccessFile | null>;
  /** null: nothing can be written there. */
  readonly change: {
    write(name: string, content: FileContent): Promise<void>;
    remove(name: string): Promise<void>;
    rename(from: string, to: string): Promise<void>;
  } | null;
}

/** A storage of a browser, from what its kind does itself. */
export function madeStorage({ path, list, find, change }: StorageParts): Storage {
  const pathOf = (name: string): string => (path === "" ? name : `${path}/${name}`);
  const open = async (name: string): Promise<RandomAccessFile> => {
    const file = await find(name);
    if (file === null) throw new NotFoundError(`${pathOf(name)}: no such file`);
    return file;
  };
  const changing = (name: string): NonNullable<StorageParts["change"]> => {
    if (change !== null) return change;
    throw new LowrankError("storage", `cannot write ${pathOf(name)}: it can only be read`);
  };
  return {
    ...{ path, pathOf, list, open },
    size: async (name) => (await find(name))?.sizeBytes ?? null,
    read: async (name, limitBytes = SMALL_FILE_BYTES) => {
      const file = await open(name);
      if (file.sizeBytes > limitBytes)
        throw new FormatError(
          file.path,
          `has ${file.sizeBytes} bytes, the limit for such a file is ${limitBytes}`,
        );
      const bytes = new Uint8Array(file.sizeBytes);
      await file.read(0, bytes);
      return bytes;
    },
    write: async (name, content) => changing(name).write(name, content),
    remove: async (name) => changing(name).remove(name),
    rename: async (from, to) => changing(to).rename(from, to),
  };
}

/** Content as one array. */
export async function wholeContent(content: FileContent): Promise<Uint8Array> {
  if (typeof content === "string") return utf8Of(content);
  if (content instanceof Uint8Array) return content;
  const parts: Uint8Array[] = [];
  await content(async (bytes) => {
    parts.push(bytes.slice()); // who writes may use its buffer again
  });
  return parts.length === 1 ? (parts[0] as Uint8Array) : concatBytes(parts);
}
