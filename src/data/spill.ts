import { closeSync, mkdirSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { storageError } from "../io/disk.ts";
import { temporaryPath } from "../io/temporary.ts";

/** Where records go that are too many for memory: temporary files, which have no name while they are open, so that nothing stays
 *  behind however the process ends (on Windows their names go when they are closed). */
export interface Spill {
  /** What a store keeps in memory, in bytes. */
  readonly memoryBytes: number;
  /** A new file. @throws LowrankError ("storage") */
  create(): SpillFile;
  /** Closes and removes every file; who goes on using one gets an error. */
  close(): void;
}

/** A temporary file. Reading and writing are calls that wait: a few microseconds from and to the system's own cache. */
export interface SpillFile {
  /** @throws LowrankError ("storage") if the disk does not take it */
  append(bytes: Uint8Array): void;
  /** Fills `into` from byte `offset`. */
  read(offset: number, into: Uint8Array): void;
}

const MEMORY_BYTES: number = 8 * 2 ** 20;

/** Temporary files in `folder`, which is made when the first is. */
export function openSpill(folder: string, memoryBytes: number = MEMORY_BYTES): Spill {
  const paths = new Map<number, string>(); // of the open files
  let isClosed = false;
  // A number that was closed may be another's file by now.
  const checkOpen = (): void => {
    if (isClosed) throw new Error(`the temporary files in ${folder} are closed`);
  };
  const create = (): SpillFile => {
    checkOpen();
    const path = temporaryPath(join(folder, "rows"));
    const file = storingSync(path, () => {
      mkdirSync(folder, { recursive: true });
      return openSync(path, "wx+");
    });
    paths.set(file, path);
    quietly(() => rmSync(path, { force: true }));
    return spillFile(path, file, checkOpen);
  };
  const close = (): void => {
    isClosed = true;
    for (const [file, path] of paths) {
      quietly(() => closeSync(file));
      quietly(() => rmSync(path, { force: true }));
    }
    paths.clear();
  };
  return { memoryBytes, create, close };
}

/** A name that cannot be removed now, or a file that is closed already, is no reason to end a run. */
function quietly(work: () => void): void {
  try {
    work();
  } catch {}
}

function spillFile(path: string, file: number, checkOpen: () => void): SpillFile {
  let end = 0;
  return {
    append: (bytes) => {
      checkOpen();
      storingSync(path, () => {
        for (let done = 0; done < bytes.length; )
          done += writeSync(file, bytes, done, bytes.length - done, end + done);
      });
      end += bytes.length;
    },
    read: (offset, into) => {
      checkOpen();
      for (let done = 0; done < into.length; ) {
        const count = readSync(file, into, done, into.length - done, offset + done);
        if (count === 0) throw new RangeError(`${path} ends before byte ${offset + into.length}`);
        done += count;
      }
    },
  };
}

function storingSync<T>(path: string, write: () => T): T {
  try {
    return write();
  } catch (error) {
    throw storageError(path, error);
  }
}
