import { createHash } from "node:crypto";
import { type FileHandle, open, realpath, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { FormatError, LowrankError, NotFoundError } from "../errors.ts";
import { type FileIdentity, fileIdentity } from "./file-identity.ts";
import { makeFolder } from "./folder.ts";
import { SMALL_FILE_BYTES } from "./limits.ts";
import { openRegular, readError, readRegular, systemErrorCode } from "./regular-file.ts";
import type { FileContent, RandomAccessFile } from "./storage/storage.ts";
import { finalPath, removeAbandoned, temporaryPath } from "./temporary.ts";

export { systemErrorCode } from "./regular-file.ts";
export type { FileContent, HashedFile, RandomAccessFile } from "./storage/storage.ts";

/** One call moves at most this much: Node refuses lengths of 2 GiB and more. */
const CALL_LIMIT_BYTES = 256 * 1024 * 1024;

const HASH_READ_BYTES = 4 * 2 ** 20;

/** A file on disk, opened for random access. */
export interface DiskFile extends RandomAccessFile {
  /** Where the path leads to. */
  realPath(): Promise<string>;
  identity(): Promise<FileIdentity>;
}

/** Opens a file for random access. @throws NotFoundError, FormatError if it is not a readable regular file. */
export async function openFile(path: string): Promise<DiskFile> {
  const handle = await openRegular(path);
  const status = await handle.stat();
  const sizeBytes = status.size;
  const modifiedMs = status.mtimeMs;
  let closed = false;

  const read = async (offset: number, into: Uint8Array): Promise<void> => {
    if (closed) throw new FormatError(path, "was closed and is read again");
    for (let done = 0; done < into.length; ) {
      const length = Math.min(CALL_LIMIT_BYTES, into.length - done);
      const { bytesRead } = await handle.read(into, done, length, offset + done).catch((error) => {
        throw readError(path, error);
      });
      if (bytesRead === 0)
        throw new FormatError(
          path,
          `ends at byte ${offset + done}, expected ${offset + into.length} or more`,
        );
      done += bytesRead;
    }
    const now = await handle.stat();
    if (now.size !== sizeBytes || now.mtimeMs !== modifiedMs)
      throw new FormatError(path, "was changed while it was open");
  };
  const close = async (): Promise<void> => {
    if (closed) return;
    closed = true;
    await handle.close();
  };
  const sha256 = async (): Promise<string> => {
    const hash = createHash("sha256");
    const buffer = new Uint8Array(HASH_READ_BYTES);
    for (let at = 0; at < sizeBytes; at += buffer.length) {
      const part = buffer.subarray(0, Math.min(buffer.length, sizeBytes - at));
      await read(at, part);
      hash.update(part);
    }
    return hash.digest("hex");
  };
  return {
    ...{ path, sizeBytes, modifiedMs, read, close, sha256 },
    realPath: () => realpath(path),
    identity: () => fileIdentity(handle),
  };
}

/** Whole content of a file of at most `limitBytes`. @throws NotFoundError, FormatError if it cannot be read or is larger. */
export function readBytes(path: string, limitBytes: number = SMALL_FILE_BYTES): Promise<Uint8Array> {
  return readRegular(path, limitBytes);
}

/** Content of a file that may be missing: null then. @throws FormatError if it is there and cannot be read, or is larger. */
export async function readBytesIfThere(
  path: string,
  limitBytes: number = SMALL_FILE_BYTES,
): Promise<Uint8Array | null> {
  try {
    return await readBytes(path, limitBytes);
  } catch (error) {
    if (error instanceof NotFoundError) return null;
    throw error;
  }
}

const DISK_ERRORS: Readonly<Record<string, string>> = {
  ENOSPC: "no space left on the disk",
  EDQUOT: "the disk quota is used up",
  EACCES: "no permission to write there",
  EPERM: "no permission to write there",
  EROFS: "the disk is read-only",
  EFBIG: "the file is too large for this disk",
  EIO: "the disk failed",
  ENOENT: "a folder of the path is not there or cannot be made", // mkdir of a path on a read-only disk says this too
  ENOTDIR: "a part of the path is a file, not a folder",
  EEXIST: "a part of the path is a file, not a folder",
  ELOOP: "its links lead in a circle",
  EINVAL: "the system does not make such a file or folder there",
  EISDIR: "a folder has that name",
  ENOTEMPTY: "a folder of that name holds something",
  ENAMETOOLONG: "the name is too long",
};

/** What to throw where writing to `path` failed: of a full or read-only disk and the like, a LowrankError ("storage") that says so. */
export function storageError(path: string, error: unknown): unknown {
  const reason = DISK_ERRORS[systemErrorCode(error) ?? ""];
  if (reason === undefined || error instanceof LowrankError) return error;
  return new LowrankError("storage", `cannot write ${finalPath(path)}: ${reason}`, { cause: error });
}

/** Runs what writes to `path`; a full or read-only disk and the like become an error that says so.
 *  @throws LowrankError ("storage"). */
export async function storing<T>(path: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    throw storageError(path, error);
  }
}

/** Makes renames in a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  // Windows cannot open folders; there the rename is as durable as the file system makes it.
  const handle = await open(path, "r").catch(() => null);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

/** Writes all of `bytes`, at `position` or where the last write ended. */
export async function writeAll(file: FileHandle, bytes: Uint8Array, position?: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const length = Math.min(CALL_LIMIT_BYTES, bytes.length - done);
    const at = position === undefined ? null : position + done;
    done += (await file.write(bytes, done, length, at)).bytesWritten;
  }
}

/** Writes a file so that `path` holds the old content or all of the new one, whatever happens: temporary file, fsync,
 *  rename. Makes the folder. @throws LowrankError ("storage") if the disk does not take it; what `content` throws. */
export async function writeFileAtomic(path: string, content: FileContent): Promise<void> {
  const temporary = temporaryPath(path);
  await storing(path, async () => {
    try {
      await makeFolder(dirname(path));
      await removeAbandoned(path);
      await writeSynced(temporary, content);
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined); // ENOTDIR where a part of the path is a file
      throw error;
    }
    await syncFolder(dirname(path));
  });
}

async function writeSynced(path: string, content: FileContent): Promise<void> {
  const file = await open(path, "wx");
  try {
    if (typeof content === "function") await content((bytes) => writeAll(file, bytes));
    else await writeAll(file, typeof content === "string" ? Buffer.from(content) : content);
    await file.sync();
  } finally {
    await file.close();
  }
}
