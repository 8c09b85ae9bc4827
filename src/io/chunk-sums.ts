import type { FileHandle } from "node:fs/promises";
import { crc32 } from "node:zlib";

/** Bytes that one checksum stands for. */
const CHUNK_BYTES = 4 * 2 ** 20;
/** CRC-32 of each chunk, and of all of them. */
const SUM_BYTES = 4;

/** Where to check a file against its sums. */
export type ChunkChoice = "all" | { readonly sampled: number };

function chunkCount(sizeBytes: number): number {
  return Math.ceil(sizeBytes / CHUNK_BYTES);
}

/** Bytes of the sums that follow a content of `sizeBytes`. */
export function sumsBytes(sizeBytes: number): number {
  return SUM_BYTES * (chunkCount(sizeBytes) + 1);
}

/** Takes a content as it is written; `finish` gives the sums, to be written after it. */
export interface SumWriter {
  add(bytes: Uint8Array): void;
  finish(): Uint8Array;
}

export function sumWriter(): SumWriter {
  const sums: number[] = [];
  let [crc, filled] = [0, 0];
  const close = (): void => {
    if (filled > 0) sums.push(crc);
    [crc, filled] = [0, 0];
  };
  return {
    add: (bytes) => {
      for (let at = 0; at < bytes.length; ) {
        const part = bytes.subarray(at, at + CHUNK_BYTES - filled);
        crc = crc32(part, crc);
        filled += part.length;
        at += part.length;
        if (filled === CHUNK_BYTES) close();
      }
    },
    finish: () => {
      close();
      return tableOf(sums);
    },
  };
}

function tableOf(sums: readonly number[]): Uint8Array {
  const table = Buffer.alloc(SUM_BYTES * (sums.length + 1));
  for (const [i, sum] of sums.entries()) table.writeUInt32LE(sum, SUM_BYTES * i);
  const end = SUM_BYTES * sums.length;
  table.writeUInt32LE(crc32(table.subarray(0, end)), end);
  return table;
}

/** Whether a content of `sizeBytes` is what its sums, which follow it in the file, say: in all of its chunks, or in some taken
 *  at random. */
export async function matchesSums(file: FileHandle, sizeBytes: number, which: ChunkChoice): Promise<boolean> {
  const table = Buffer.alloc(sumsBytes(sizeBytes));
  const { bytesRead } = await file.read(table, 0, table.length, sizeBytes);
  const end = table.length - SUM_BYTES;
  if (bytesRead < table.length || crc32(table.subarray(0, end)) !== table.readUInt32LE(end)) return false;
  const chunks = chosen(chunkCount(sizeBytes), which);
  // The next chunk is read while this one is summed.
  const buffers = [Buffer.alloc(CHUNK_BYTES), Buffer.alloc(CHUNK_BYTES)] as const;
  const read = (i: number): Promise<Buffer> | null => {
    const chunk = chunks[i];
    return chunk === undefined ? null : readChunk(file, chunk, sizeBytes, buffers[i % 2] as Buffer);
  };
  let next = read(0);
  for (const [i, chunk] of chunks.entries()) {
    const bytes = (await next) as Buffer;
    next = read(i + 1);
    if (crc32(bytes) === table.readUInt32LE(SUM_BYTES * chunk)) continue;
    await next;
    return false;
  }
  return true;
}

function chosen(count: number, which: ChunkChoice): readonly number[] {
  if (which === "all" || which.sampled >= count) return Array.from({ length: count }, (_, i) => i);
  return Array.from({ length: which.sampled }, () => Math.floor(Math.random() * count));
}

async function readChunk(file: FileHandle, chunk: number, sizeBytes: number, into: Buffer): Promise<Buffer> {
  const start = chunk * CHUNK_BYTES;
  const length = Math.min(CHUNK_BYTES, sizeBytes - start);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(into, done, length - done, start + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return into.subarray(0, done);
}
