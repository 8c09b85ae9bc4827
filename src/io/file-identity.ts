import { createHash } from "node:crypto";
import type { BigIntStats } from "node:fs";
import type { FileHandle } from "node:fs/promises";

/** A file that changed so recently may change again without another time being seen: times have the grain of a clock tick, of a
 *  FAT disk two seconds. */
const UNSETTLED_MS = 2500;

const SAMPLES = 64;
const SAMPLE_BYTES = 4096;

/** What tells a file from every other and from itself after a change, short of reading all of it. */
export interface FileIdentity {
  /** Device, inode, size, times in nanoseconds (that of the last change of the inode too, which cannot be set back), and a hash
   *  of spots spread over the content: images and archives give many files the same times, and file systems inodes anew. */
  readonly key: string;
  /** The last change is long enough ago for the identity to be kept. */
  readonly isSettled: boolean;
}

function settled({ mtimeMs, ctimeMs }: BigIntStats): boolean {
  const changedMs = Number(mtimeMs > ctimeMs ? mtimeMs : ctimeMs);
  return Math.abs(Date.now() - changedMs) > UNSETTLED_MS;
}

/** The identity of an open file. */
export async function fileIdentity(file: FileHandle): Promise<FileIdentity> {
  const status = await file.stat({ bigint: true });
  const { dev, ino, size, mtimeNs, ctimeNs } = status;
  const hash = createHash("sha256").update([dev, ino, size, mtimeNs, ctimeNs].join(" "));
  const sample = Buffer.alloc(SAMPLE_BYTES);
  const stride = Math.max(SAMPLE_BYTES, Math.floor(Number(size) / SAMPLES));
  for (let at = 0; at < Number(size); at += stride) {
    const { bytesRead } = await file.read(sample, 0, SAMPLE_BYTES, at);
    hash.update(sample.subarray(0, bytesRead));
  }
  return { key: hash.digest("hex"), isSettled: settled(status) };
}
