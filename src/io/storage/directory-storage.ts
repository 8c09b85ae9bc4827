import { LowrankError, NotFoundError } from "../../errors.ts";
import { utf8Of } from "../bytes.ts";
import { blobFile } from "./bytes-file.ts";
import type { GivenFile } from "./files-storage.ts";
import { madeStorage } from "./made-storage.ts";
import type { FileContent, Storage } from "./storage.ts";

/** `FileSystemFileHandle`, as far as it is used. */
export interface FileHandle {
  getFile(): Promise<GivenFile>;
  createWritable(): Promise<{
    write(data: Uint8Array<ArrayBuffer>): Promise<void>;
    close(): Promise<void>;
    abort(): Promise<void>;
  }>;
}

/** `FileSystemDirectoryHandle`, as far as it is used: a folder that a user picked, or one of the browser's own file system. */
export interface DirectoryHandle {
  readonly name: string;
  keys(): AsyncIterable<string>;
  getFileHandle(name: string, options?: { create?: boolean }): Promise<FileHandle>;
  getDirectoryHandle(name: string, options?: { create?: boolean }): Promise<DirectoryHandle>;
  removeEntry(name: string): Promise<void>;
}

/** A folder by its handle (https://fs.spec.whatwg.org). What is written is there whole or not at all: it takes its name when it is
 *  closed. */
export function directoryStorage(root: DirectoryHandle, path: string = root.name): Storage {
  const pathOf = (name: string): string => `${path}/${name}`;
  const find = async (name: string): Promise<GivenFile | null> =>
    (await fileAt(root, name, false).catch(nullIfMissing))?.getFile() ?? null;
  const write = async (name: string, content: FileContent): Promise<void> => {
    const isNew = (await find(name)) === null;
    await storing(pathOf(name), async () => {
      try {
        await writeTo(await fileAt(root, name, true), content);
      } catch (error) {
        if (isNew) await remove(name).catch(() => undefined); // a new name is there, and empty, before it is written
        throw error;
      }
    });
  };
  const remove = async (name: string): Promise<void> => {
    const { folders, last } = partsOf(name);
    const folder = await folderAt(root, folders, false).catch(nullIfMissing);
    await storing(pathOf(name), async () => folder?.removeEntry(last).catch(nullIfMissing));
  };
  return madeStorage({
    path,
    list: async () => {
      const names: string[] = [];
      for await (const name of root.keys()) names.push(name);
      return names;
    },
    find: async (name) => {
      const file = await find(name);
      return file === null ? null : blobFile(pathOf(name), file, file.lastModified);
    },
    change: {
      ...{ write, remove },
      rename: async (from, to) => {
        const file = await find(from);
        if (file === null) throw new NotFoundError(`${pathOf(from)}: no such file`);
        await write(to, (put) => copied(file, put));
        await remove(from);
      },
    },
  });
}

const COPY_BYTES = 4 * 2 ** 20;

async function copied(blob: Blob, put: (bytes: Uint8Array) => Promise<void>): Promise<void> {
  for (let at = 0; at < blob.size; at += COPY_BYTES)
    await put(new Uint8Array(await blob.slice(at, at + COPY_BYTES).arrayBuffer()));
}

async function writeTo(file: FileHandle, content: FileContent): Promise<void> {
  const stream = await file.createWritable();
  const write = (bytes: Uint8Array): Promise<void> => stream.write(bytes as Uint8Array<ArrayBuffer>);
  try {
    if (typeof content === "function") await content(write);
    else await write(typeof content === "string" ? utf8Of(content) : content);
  } catch (error) {
    await stream.abort().catch(() => undefined);
    throw error;
  }
  await stream.close();
}

function partsOf(name: string): { readonly folders: readonly string[]; readonly last: string } {
  const parts = name.split("/");
  return { folders: parts.slice(0, -1), last: parts.at(-1) as string };
}

async function folderAt(
  root: DirectoryHandle,
  names: readonly string[],
  create: boolean,
): Promise<DirectoryHandle> {
  let folder = root;
  for (const name of names) folder = await folder.getDirectoryHandle(name, { create });
  return folder;
}

async function fileAt(root: DirectoryHandle, name: string, create: boolean): Promise<FileHandle> {
  const { folders, last } = partsOf(name);
  return (await folderAt(root, folders, create)).getFileHandle(last, { create });
}

/** What is not there, or is a folder where a file is looked for. */
function nullIfMissing(error: unknown): null {
  if (error instanceof Error && ["NotFoundError", "TypeMismatchError"].includes(error.name)) return null;
  throw error;
}

async function storing<T>(path: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    const name = error instanceof Error ? error.name : "";
    const reason = REASONS[name];
    if (reason === undefined) throw error;
    throw new LowrankError("storage", `cannot write ${path}: ${reason}`, { cause: error });
  }
}

const REASONS: Readonly<Record<string, string>> = {
  QuotaExceededError: "the browser gives this site no more room",
  NotAllowedError: "no permission to write there",
  NoModificationAllowedError: "it is open elsewhere",
};
