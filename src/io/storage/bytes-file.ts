import { FormatError } from "../../errors.ts";
import { createSha256 } from "../sha256.ts";
import { piecesOf, type RandomAccessFile } from "./storage.ts";

const HASH_READ_BYTES = 4 * 2 ** 20;

/** Bytes that can be read in stretches: a `Blob`, or what stands for one. */
export interface Stretches {
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  /** From `start` up to `end`, which is not included. */
  slice(start: number, end: number): Promise<Uint8Array>;
}

/** An open file over bytes that do not change. */
export function bytesFile(path: string, { sizeBytes, modifiedMs, slice }: Stretches): RandomAccessFile {
  const read = async (offset: number, into: Uint8Array): Promise<void> => {
    const end = offset + into.length;
    if (end > sizeBytes) throw new FormatError(path, `ends at byte ${sizeBytes}, expected ${end} or more`);
    const bytes = await slice(offset, end).catch((error: unknown) => {
      throw new FormatError(path, `cannot be read (${error instanceof Error ? error.message : error})`, {
        cause: error,
      });
    });
    into.set(bytes);
  };
  return {
    ...{ path, sizeBytes, modifiedMs, read },
    sha256: async () => {
      const hash = createSha256();
      for await (const piece of piecesOf({ sizeBytes, read }, HASH_READ_BYTES)) hash.update(piece);
      return hash.hex();
    },
    close: async () => undefined,
  };
}

/** A blob, read in stretches: nothing of it stays in memory. */
export function blobFile(path: string, blob: Blob, modifiedMs = 0): RandomAccessFile {
  return bytesFile(path, {
    sizeBytes: blob.size,
    modifiedMs,
    slice: async (start, end) => new Uint8Array(await blob.slice(start, end).arrayBuffer()),
  });
}
