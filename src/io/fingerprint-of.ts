import { createSha256 } from "./sha256.ts";
import type { HashedFile } from "./storage/storage.ts";

/** Hex sha256 of a file's content, wherever it comes from: read, or kept from an earlier reading. */
export type HashOf = (file: HashedFile) => Promise<string>;

/** Reads the whole file. */
export const readingHash: HashOf = (file) => file.sha256();

/** sha256 (hex) over the contents of the weight files, whatever they are called and wherever they lie, and over small contents
 *  that change what the weights mean, such as config.json. */
export async function fingerprintOf(
  files: readonly HashedFile[],
  contents: readonly unknown[],
  hashOf: HashOf = readingHash,
): Promise<string> {
  const hashes: string[] = [];
  for (const file of files) hashes.push(await hashOf(file));
  const hash = createSha256();
  for (const content of hashes.sort()) hash.update(content);
  for (const content of contents) hash.update(JSON.stringify(content) ?? "");
  return hash.hex();
}
