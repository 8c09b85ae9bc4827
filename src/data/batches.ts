import { InputError } from "../errors.ts";
import { permutation, random } from "../tensor/random.ts";
import type { Example } from "./batch.ts";
import type { Indexed } from "./indexed.ts";
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

/** The order of the examples in an epoch: a seeded permutation. */
export function epochOrder({ count, seed, epoch }: Omit<BatchOrderOptions, "batchSize">): Int32Array {
  return permutation(count, random(seed, `batch order ${epoch}`));
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
  const order = epochOrder({ count, seed, epoch });
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
  /** Batches that were counted, the first of the epoch; the tokens of all are estimated from them, where these are fewer. */
  readonly countedBatches: number;
}

/** Examples that are looked at for a report: more take longer than what they would add to it is worth. */
const COUNTED_EXAMPLES = 100_000;

/** Padded against packed tokens over the batches of epoch 0. `packedSize`: tokens of a batch that are computed; by default those
 *  of one trie per batch. */
export function packingReport(
  examples: Indexed<Example>,
  batchSize: number,
  seed: number,
  packedSize: (examples: readonly Example[]) => number = trieSize,
  countedExamples: number = COUNTED_EXAMPLES,
): PackingReport {
  const order = epochOrder({ count: examples.length, seed, epoch: 0 });
  const batches = Math.ceil(examples.length / batchSize);
  const countedBatches = Math.min(batches, Math.ceil(countedExamples / batchSize));
  let paddedTokens = 0;
  let trieTokens = 0;
  for (let i = 0; i < countedBatches; i++) {
    const indices = order.subarray(i * batchSize, (i + 1) * batchSize);
    const batch = Array.from(indices, (index) => examples.at(index) as Example);
    paddedTokens += paddedSize(batch);
    trieTokens += packedSize(batch);
  }
  const ratio = paddedTokens / Math.max(1, trieTokens);
  const ofAll = (counted: number): number => Math.round((counted * batches) / Math.max(1, countedBatches));
  return { batches, paddedTokens: ofAll(paddedTokens), trieTokens: ofAll(trieTokens), ratio, countedBatches };
}
