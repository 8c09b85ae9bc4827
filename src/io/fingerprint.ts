import { createHash } from "node:crypto";
import { basename, dirname, join } from "node:path";
import { FormatError } from "../errors.ts";
import { type HashedFile, readBytesIfThere, writeFileAtomic } from "./disk.ts";

const HASH = /^[0-9a-f]{64}$/;

/** Hex sha256 of a file's content. It is computed once (about 1 GB/s) and kept below `cacheFolder` for as long as the file
 *  stays the same one, untouched.
 *  @throws FormatError for a file of the Hub's cache whose content is not what its name says, and as reading it */
export async function contentHash(file: HashedFile, cacheFolder: string): Promise<string> {
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

/** sha256 (hex) over the contents of the weight files, whatever they are called and wherever they lie, and over small contents
 *  that change what the weights mean, such as config.json. */
export async function fingerprintOf(
  files: readonly HashedFile[],
  contents: readonly unknown[],
  cacheFolder: string,
): Promise<string> {
  const hashes: string[] = [];
  for (const file of files) hashes.push(await contentHash(file, cacheFolder));
  const hash = createHash("sha256");
  for (const content of hashes.sort()) hash.update(content);
  for (const content of contents) hash.update(JSON.stringify(content) ?? "");
  return hash.digest("hex");
}
