import { NotFoundError } from "../../errors.ts";

/** A file whose content has a hash. */
export interface HashedFile {
  readonly path: string;
  /** Hex sha256 of the whole content. */
  sha256(): Promise<string>;
}

/** A file opened for random access. What is read stays the file that was opened: one replaced by rename keeps being
 *  read as it was, one rewritten in place is an error. */
export interface RandomAccessFile extends HashedFile {
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  /** Fills `into` from byte `offset` of the file.
   *  @throws FormatError if the file ends earlier, or was changed since it was opened. */
  read(offset: number, into: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** Content of a file, or what writes it piece by piece. */
export type FileContent =
  | string
  | Uint8Array
  | ((write: (bytes: Uint8Array) => Promise<void>) => Promise<void>);

/** A place of files: a folder on disk, a folder that a page was given, the browser's own file system, memory, addresses. Names go
 *  down from it, with "/" between folders. */
export interface Storage {
  /** What people know it by. */
  readonly path: string;
  /** What people know a file by, in messages. */
  pathOf(name: string): string;
  /** Names of what is in it: files, and folders where it has any. @throws NotFoundError, FormatError */
  list(): Promise<string[]>;
  /** Bytes of a file; null where there is none. */
  size(name: string): Promise<number | null>;
  /** @throws NotFoundError; FormatError if it cannot be read */
  open(name: string): Promise<RandomAccessFile>;
  /** Whole content of a file of at most `limitBytes`. @throws as `open`, FormatError for a larger one */
  read(name: string, limitBytes?: number): Promise<Uint8Array>;
  /** Writes a file, so that its name holds the old content or all of the new one, whatever happens. Makes folders.
   *  @throws LowrankError ("storage") if it is not taken, or nothing can be written there; what `content` throws */
  write(name: string, content: FileContent): Promise<void>;
  /** Gives a file another name; one that has it is replaced. @throws NotFoundError, LowrankError ("storage") */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file; one that is not there does not matter. @throws LowrankError ("storage") */
  remove(name: string): Promise<void>;
}

/** Content of a file that may be missing: null then. @throws FormatError if it is there and cannot be read, or is larger */
export async function readIfThere(
  storage: Pick<Storage, "read">,
  name: string,
  limitBytes?: number,
): Promise<Uint8Array | null> {
  try {
    return await storage.read(name, limitBytes);
  } catch (error) {
    if (error instanceof NotFoundError) return null;
    throw error;
  }
}

/** Content of an open file in pieces. */
export async function* piecesOf(
  { sizeBytes, read }: Pick<RandomAccessFile, "sizeBytes" | "read">,
  pieceBytes: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (let at = 0; at < sizeBytes; at += pieceBytes) {
    const piece = new Uint8Array(Math.min(pieceBytes, sizeBytes - at));
    await read(at, piece);
    yield piece;
  }
}
