import { createHash } from "node:crypto";

/** What identifies a file without reading it. */
export interface FileIdentity {
  readonly name: string;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
}

/** sha256 (hex) over names, sizes and times of the weight files, and over small contents that change what the weights
 *  mean, such as config.json. */
export function fingerprintOf(files: readonly FileIdentity[], contents: readonly unknown[]): string {
  const hash = createHash("sha256");
  for (const { name, sizeBytes, modifiedMs } of files.toSorted((a, b) => (a.name < b.name ? -1 : 1)))
    hash.update(JSON.stringify([name, sizeBytes, modifiedMs]));
  for (const content of contents) hash.update(JSON.stringify(content) ?? "");
  return hash.digest("hex");
}
