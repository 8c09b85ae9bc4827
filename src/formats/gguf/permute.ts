import type { ModelConfig } from "../model.ts";

/** Heads whose rows llama.cpp reorders in this weight or bias; null for those that keep their order. `path` is this
 *  project's, `layers.0.attention.q.weight` or its module. */
export function permutedHeads(
  config: Pick<ModelConfig, "headCount" | "kvHeadCount">,
  path: string,
): number | null {
  const part = /\.attention\.(q|k)(?:\.weight|\.bias)?$/.exec(path)?.[1];
  if (part === undefined) return null;
  return part === "q" ? config.headCount : config.kvHeadCount;
}

/** Number of rows before a row in GGUF's order, for each row in transformers' order. llama.cpp rotates neighbouring rows
 *  (2k, 2k+1) of a head where transformers rotates rows k and k + headDim/2. */
function ggufRow(row: number, headDim: number): number {
  const head = Math.floor(row / headDim);
  const within = row % headDim;
  const halfDim = headDim / 2;
  return head * headDim + 2 * (within % halfDim) + Math.floor(within / halfDim);
}

/** Reorders the rows of a Q or K projection (or its bias) of a llama GGUF to transformers' order. Whole rows are moved,
 *  so quantized bytes need not be decoded: a row is a whole number of blocks.
 *  bytes: `rowCount` rows of equal size; rows = heads · headDim. */
export function rowsFromGguf(bytes: Uint8Array, rowCount: number, headCount: number): Uint8Array {
  const rowBytes = bytes.length / rowCount;
  const out = new Uint8Array(bytes.length);
  for (let row = 0; row < rowCount; row++) {
    const from = ggufRow(row, rowCount / headCount) * rowBytes;
    out.set(bytes.subarray(from, from + rowBytes), row * rowBytes);
  }
  return out;
}

/** Reorders rows from transformers' order to that of a llama GGUF: the inverse of `rowsFromGguf`. */
export function rowsToGguf(bytes: Uint8Array, rowCount: number, headCount: number): Uint8Array {
  const rowBytes = bytes.length / rowCount;
  const out = new Uint8Array(bytes.length);
  for (let row = 0; row < rowCount; row++)
    out.set(
      bytes.subarray(row * rowBytes, (row + 1) * rowBytes),
      ggufRow(row, rowCount / headCount) * rowBytes,
    );
  return out;
}
