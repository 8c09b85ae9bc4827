import { randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FormatError, NotFoundError } from "../errors.ts";

/** One read call moves at most this much: Node refuses lengths of 2 GiB and more. */
const READ_LIMIT_BYTES = 256 * 1024 * 1024;

/** A file opened for random access. What is read stays the file that was opened: one replaced by rename keeps being
 *  read as it was, one rewritten in place is an error. */
export interface RandomAccessFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  /** Fills `into` from byte `offset` of the file.
   *  @throws FormatError if the file ends earlier, or was changed since it was opened. */
  read(offset: number, into: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** Code of a system error, e.g. "ENOENT". */
export function systemErrorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

function readError(path: string, error: unknown): Error {
  const code = systemErrorCode(error);
  if (code === "ENOENT" || code === "ENOTDIR")
    return new NotFoundError(`${path}: no such file`, { cause: error });
  return new FormatError(path, `cannot be read (${code ?? String(error)})`, { cause: error });
}

/** Opens a file for random access. @throws NotFoundError, FormatError if it is not a readable regular file. */
export async function openFile(path: string): Promise<RandomAccessFile> {
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (error) {
    throw readError(path, error);
  }
  const status = await handle.stat();
  if (!status.isFile()) {
    await handle.close();
    throw new FormatError(path, "is not a regular file");
  }
  const sizeBytes = status.size;
  const modifiedMs = status.mtimeMs;
  let closed = false;

  const read = async (offset: number, into: Uint8Array): Promise<void> => {
    if (closed) throw new FormatError(path, "was closed and is read again");
    for (let done = 0; done < into.length; ) {
      const length = Math.min(READ_LIMIT_BYTES, into.length - done);
      const { bytesRead } = await handle.read(into, done, length, offset + done);
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
  return { path, sizeBytes, modifiedMs, read, close };
}

/** Whole content of a file. @throws NotFoundError, FormatError if it cannot be read. */
export async function readBytes(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw readError(path, error);
  }
}

/** Content of a file that may be missing: null then. @throws FormatError if it is there and cannot be read. */
export async function readBytesIfThere(path: string): Promise<Uint8Array | null> {
  try {
    return await readBytes(path);
  } catch (error) {
    if (error instanceof NotFoundError) return null;
    throw error;
  }
}

/** An error of writing `path`: what the system refused becomes a FormatError, anything else stays as it is. */
export function writeError(path: string, error: unknown): unknown {
  if (!(error instanceof Error && "syscall" in error)) return error;
  return new FormatError(path, `cannot be written (${systemErrorCode(error)})`, { cause: error });
}

/** Name beside `path` that nobody else uses, for content that is renamed to `path` when complete. */
export function temporaryPath(path: string): string {
  return join(dirname(path), `.${basename(path)}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`);
}

/** Makes renames in a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  // Windows cannot open folders; there the rename is as durable as the file system makes it.
  const handle = await open(path, "r").catch(() => null);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

/** Writes a file so that `path` holds the old content or all of the new one, whatever happens: temporary file, fsync,
 *  rename. `fill` writes the content. @throws FormatError naming `path` if the system refuses. */
export async function writeAtomically(
  path: string,
  fill: (write: (bytes: Uint8Array) => Promise<void>) => Promise<void>,
): Promise<void> {
  const temporary = temporaryPath(path);
  let handle: FileHandle | undefined;
  try {
    await mkdir(dirname(path), { recursive: true });
    handle = await open(temporary, "wx");
    const target = handle;
    await fill(async (bytes) => {
      for (let done = 0; done < bytes.length; )
        done += (await target.write(bytes, done, Math.min(READ_LIMIT_BYTES, bytes.length - done)))
          .bytesWritten;
    });
    await handle.sync();
    await handle.close();
    handle = undefined;
    await rename(temporary, path);
  } catch (error) {
    await handle?.close().catch(() => undefined);
    await rm(temporary, { force: true });
    throw writeError(path, error);
  }
  await syncFolder(dirname(path));
}
