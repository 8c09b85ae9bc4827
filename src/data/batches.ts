import { InputError } from "../errors.ts";
import { permutation, random } from "../tensor/random.ts";
import type { Example } from "./batch.ts";
import { paddedSize, trieSize } from "./trie.ts";

export interface BatchOrderOptions {
  /** Examples in the data set. */
  readonly count: number;
  /** Examples per batch. */
  readonly batchSize: number;
  readonly seed: number;
  /** 0-based; every epoch has its own order. */
  readonly epoch: number;
}

/** The batches of an epoch as example indices: a seeded permutation cut into pieces, the last of which may be
 *  smaller. It depends on the options alone, so (epoch, position in the list) is all that resuming needs.
 *  @throws InputError if batchSize is not a positive integer. */
export function batchOrder(options: BatchOrderOptions): Int32Array[] {
  const { count, batchSize, seed, epoch } = options;
  if (!Number.isInteger(batchSize) || batchSize < 1)
    throw new InputError("Invalid option", [
      { where: "batchSize", message: `expected a positive integer, got ${batchSize}` },
    ]);
  const order = permutation(count, random(seed, `batch order ${epoch}`));
  const batches: Int32Array[] = [];
  for (let start = 0; start < count; start += batchSize) batches.push(order.slice(start, start + batchSize));
  return batches;
}

/** What packing saves in one epoch. */
export interface PackingReport {
  readonly batches: number;
  /** Tokens of the padded rectangles. */
  readonly paddedTokens: number;
  /** Nodes of the tries. */
  readonly trieTokens: number;
  /** paddedTokens / trieTokens. */
  readonly ratio: number;
}

/** Padded against packed tokens over the batches of epoch 0. `packedSize`: tokens of a batch that are computed; by default those
 *  of one trie per batch. */
export function packingReport(
  examples: readonly Example[],
  batchSize: number,
  seed: number,
  packedSize: (examples: readonly Example[]) => number = trieSize,
): PackingReport {
  const batches = batchOrder({ count: examples.length, batchSize, seed, epoch: 0 });
  let paddedTokens = 0;
  let trieTokens = 0;
  for (const indices of batches) {
    const batch = Array.from(indices, (i) => examples[i] as Example);
    paddedTokens += paddedSize(batch);
    trieTokens += packedSize(batch);
  }
  return { batches: batches.length, paddedTokens, trieTokens, ratio: paddedTokens / Math.max(1, trieTokens) };
}
