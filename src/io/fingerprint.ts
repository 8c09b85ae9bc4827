import { basename, dirname, join } from "node:path";
import { FormatError } from "../errors.ts";
import { type DiskFile, type HashedFile, readBytesIfThere, writeFileAtomic } from "./disk.ts";
import type { HashOf } from "./fingerprint-of.ts";

const HASH = /^[0-9a-f]{64}$/;

/** Hex sha256 of a file's content. It is computed once (about 1 GB/s) and kept below `cacheFolder` for as long as the file
 *  stays the same one, untouched.
 *  @throws FormatError for a file of the Hub's cache whose content is not what its name says, and as reading it */
export async function contentHash(file: DiskFile, cacheFolder: string): Promise<string> {
  const { key, isSettled } = await file.identity();
  const kept = join(cacheFolder, "hashes", key);
  const known = await readBytesIfThere(kept).then((bytes) => bytes && new TextDecoder().decode(bytes));
  if (known !== null && HASH.test(known)) return known;
  const hash = await file.sha256();
  await checkBlobName(await file.realPath(), hash);
  if (isSettled) await writeFileAtomic(kept, hash);
  return hash;
}

/** The Hub's cache names large files by their content. */
async function checkBlobName(path: string, hash: string): Promise<void> {
  const name = basename(path);
  if (basename(dirname(path)) !== "blobs" || !HASH.test(name) || name === hash) return;
  throw new FormatError(
    path,
    `is damaged: its sha256 is ${hash}; remove it, and it is fetched again when it is next needed`,
  );
}

/** The content hashes of files on disk, kept below `cacheFolder`. */
export function hashesIn(cacheFolder: string): HashOf {
  return (file) => (isOnDisk(file) ? contentHash(file, cacheFolder) : file.sha256());
}

function isOnDisk(file: HashedFile): file is DiskFile {
  return "identity" in file && "realPath" in file;
}
