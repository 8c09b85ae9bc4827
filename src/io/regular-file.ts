import { constants, type Stats } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { FormatError, NotFoundError } from "../errors.ts";

/** Code of a system error, e.g. "ENOENT". */
export function systemErrorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

const READ_ERRORS: Readonly<Record<string, string>> = {
  EACCES: "no permission",
  EPERM: "no permission",
  EIO: "the disk failed",
  EISDIR: "it is a folder",
  ELOOP: "its links lead in a circle",
  EMFILE: "too many files are open",
  ENAMETOOLONG: "the name is too long",
};

/** What to throw where a file or folder cannot be read. */
export function readError(path: string, error: unknown): Error {
  const code = systemErrorCode(error);
  if (code === "ENOENT" || code === "ENOTDIR")
    return new NotFoundError(`${path}: no such file`, { cause: error });
  const reason = READ_ERRORS[code ?? ""];
  const why = reason === undefined ? (code ?? String(error)) : `${code}, ${reason}`;
  return new FormatError(path, `cannot be read (${why})`, { cause: error });
}

const KINDS: readonly (readonly [(status: Stats) => boolean, string])[] = [
  [(s) => s.isDirectory(), "a folder"],
  [(s) => s.isFIFO(), "a FIFO"],
  [(s) => s.isSocket(), "a socket"],
  [(s) => s.isCharacterDevice() || s.isBlockDevice(), "a device"],
];

function kindFault(status: Stats): string | null {
  if (status.isFile()) return null;
  const kind = KINDS.find(([is]) => is(status))?.[1] ?? "of another kind";
  return `is not a regular file (${kind})`;
}

/** https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md: a pointer is smaller than this. */
const POINTER_LIMIT_BYTES = 1024;
const POINTER = /^version https:\/\/git-lfs\.github\.com\/spec\/v1\n(?:[\s\S]*\n)?size (\d+)\n/;

async function pointerFault(file: FileHandle, sizeBytes: number): Promise<string | null> {
  if (sizeBytes === 0 || sizeBytes >= POINTER_LIMIT_BYTES) return null;
  const bytes = Buffer.alloc(sizeBytes);
  await file.read(bytes, 0, sizeBytes, 0);
  const size = POINTER.exec(bytes.toString("latin1"))?.[1];
  if (size === undefined) return null;
  return `is a Git LFS pointer, not the file itself, which has ${size} bytes; fetch it: git lfs pull`;
}

/** Opens without waiting for whoever writes into a FIFO. */
async function openAtOnce(path: string): Promise<{ readonly file: FileHandle; readonly status: Stats }> {
  let file: FileHandle | undefined;
  try {
    // Looked at first: opening a device can do things, a socket cannot be opened.
    const fault = kindFault(await stat(path));
    if (fault !== null) throw new FormatError(path, fault);
    file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    return { file, status: await file.stat() };
  } catch (error) {
    await file?.close();
    throw error instanceof FormatError ? error : readError(path, error);
  }
}

/** Opens a file for reading: the one way in which this project opens files whose content comes from elsewhere. What would
 *  block or never end (a FIFO, a device, a socket) is refused at once, and so is what stands for a file that Git has not
 *  fetched.
 *  @throws NotFoundError; FormatError if it is not a readable regular file, or a Git LFS pointer */
export async function openRegular(path: string): Promise<FileHandle> {
  const { file, status } = await openAtOnce(path);
  try {
    const fault = kindFault(status) ?? (await pointerFault(file, status.size));
    if (fault === null) return file;
    throw new FormatError(path, fault);
  } catch (error) {
    await file.close();
    throw error instanceof FormatError ? error : readError(path, error);
  }
}

/** What `openRegular` has against a file that is there, without its path; null for nothing. */
export async function fileFault(path: string): Promise<string | null> {
  try {
    await (await openRegular(path)).close();
    return null;
  } catch (error) {
    if (error instanceof NotFoundError) return null;
    const { message } = error as Error;
    return message.startsWith(`${path}: `) ? message.slice(path.length + 2) : message;
  }
}

const CHUNK_BYTES = 1 << 20;

/** Whole content of a file of at most `limitBytes`. @throws as `openRegular`; FormatError for a larger one */
export async function readRegular(path: string, limitBytes: number): Promise<Uint8Array> {
  const file = await openRegular(path);
  const tooLarge = (size: string): FormatError =>
    new FormatError(path, `has ${size} bytes, the limit for such a file is ${limitBytes}`);
  try {
    const { size } = await file.stat();
    if (size > limitBytes) throw tooLarge(String(size));
    const chunks: Buffer[] = [];
    // To its end, not to the size it said: it may grow, and files of /proc say 0.
    for (let done = 0; ; ) {
      const chunk = Buffer.allocUnsafe(Math.max(1, Math.min(CHUNK_BYTES, size + 1 - done)));
      const { bytesRead } = await file.read(chunk, 0, chunk.length, done);
      if (bytesRead === 0) return Buffer.concat(chunks);
      chunks.push(chunk.subarray(0, bytesRead));
      done += bytesRead;
      if (done > limitBytes) throw tooLarge(`more than ${limitBytes}`);
    }
  } catch (error) {
    throw error instanceof FormatError ? error : readError(path, error);
  } finally {
    await file.close();
  }
}
