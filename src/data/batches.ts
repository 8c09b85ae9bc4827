import { InputError } from "../errors.ts";
import { permutation, random } from "../tensor/random.ts";
import type { Example } from "./batch.ts";
import type { Indexed } from "./indexed.ts";
import { compareTokens, paddedSize, trieSize } from "./trie.ts";

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
function epochOrder({ count, seed, epoch }: BatchOrderOptions): Int32Array {
  return permutation(count, random(seed, `batch order ${epoch}`));
}

/** Batches among which examples are exchanged, as many as length grouping usually takes. */
const GROUPED_BATCHES = 50;
/** Examples that stay together, neighbours in sorted order. Whole batches of neighbours would share little more, and mix less. */
const NEIGHBOURS = 4;

/** The batches of an epoch by their place in it, example indices each: a seeded permutation cut into pieces, the last of which may
 *  be smaller. It depends on the options alone, so (epoch, place) is all that resuming needs.
 *
 *  `grouped`: examples that begin alike come into one batch, as far as 50 batches of the permutation go: their examples are sorted
 *  by their tokens, and every four neighbours stay together in a seeded order of all fours. Each example still comes once, within
 *  50 batches of where it would have been. */
export function epochBatches(
  options: BatchOrderOptions,
  grouped: Indexed<Example> | null = null,
): (place: number) => Int32Array {
  const { count, batchSize } = options;
  const order = epochOrder(options);
  const cut = (from: Int32Array, i: number): Int32Array => from.subarray(i * batchSize, (i + 1) * batchSize);
  if (grouped === null) return (place) => cut(order, place);
  const size = GROUPED_BATCHES * batchSize;
  let current: { readonly group: number; readonly order: Int32Array } = {
    group: -1,
    order: new Int32Array(0),
  };
  return (place) => {
    const group = Math.floor(place / GROUPED_BATCHES);
    if (group * size >= count) return new Int32Array(0);
    if (current.group !== group) {
      const indices = order.subarray(group * size, (group + 1) * size);
      current = { group, order: groupedOrder(indices, grouped, { ...options, group }) };
    }
    return cut(current.order, place - group * GROUPED_BATCHES);
  };
}

/** Examples sorted by their tokens, then neighbours together in a seeded order; what is left over stays last. */
function groupedOrder(
  indices: Int32Array,
  examples: Indexed<Example>,
  { seed, epoch, group }: BatchOrderOptions & { readonly group: number },
): Int32Array {
  const loaded = Array.from(indices, (index) => {
    const { ids } = examples.at(index) as Example;
    return { index, ids, length: ids.length };
  });
  const sorted = Int32Array.from(loaded.sort(compareTokens), ({ index }) => index);
  const order = sorted.slice();
  const places = permutation(
    Math.floor(sorted.length / NEIGHBOURS),
    random(seed, `grouped order ${epoch} ${group}`),
  );
  places.forEach((from, to) => {
    order.set(sorted.subarray(from * NEIGHBOURS, (from + 1) * NEIGHBOURS), to * NEIGHBOURS);
  });
  return order;
}

/** All batches of an epoch (`epochBatches`). @throws InputError if batchSize is not a positive integer. */
export function batchOrder(options: BatchOrderOptions): Int32Array[] {
  const { count, batchSize } = options;
  if (!Number.isInteger(batchSize) || batchSize < 1)
    throw new InputError("Invalid option", [
      { where: "batchSize", message: `expected a positive integer, got ${batchSize}` },
    ]);
  const batchAt = epochBatches(options);
  return Array.from({ length: Math.ceil(count / batchSize) }, (_, place) => batchAt(place));
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

export interface PackingReportOptions {
  readonly batchSize: number;
  readonly seed: number;
  /** Examples that begin alike come into one batch (`epochBatches`). */
  readonly isGrouped?: boolean;
  /** Tokens of a batch that are computed; by default those of one trie per batch. */
  readonly packedSize?: (examples: readonly Example[]) => number;
  readonly countedExamples?: number;
}

/** Padded against packed tokens over the batches of epoch 0. */
export function packingReport(
  examples: Indexed<Example>,
  {
    batchSize,
    seed,
    isGrouped = false,
    packedSize = trieSize,
    countedExamples = COUNTED_EXAMPLES,
  }: PackingReportOptions,
): PackingReport {
  const order = { count: examples.length, batchSize, seed, epoch: 0 };
  const batchAt = epochBatches(order, isGrouped ? examples : null);
  const batches = Math.ceil(examples.length / batchSize);
  const countedBatches = Math.min(batches, Math.ceil(countedExamples / batchSize));
  let paddedTokens = 0;
  let trieTokens = 0;
  for (let i = 0; i < countedBatches; i++) {
    const batch = Array.from(batchAt(i), (index) => examples.at(index) as Example);
    paddedTokens += paddedSize(batch);
    trieTokens += packedSize(batch);
  }
  const ratio = paddedTokens / Math.max(1, trieTokens);
  const ofAll = (counted: number): number => Math.round((counted * batches) / Math.max(1, countedBatches));
  return { batches, paddedTokens: ofAll(paddedTokens), trieTokens: ofAll(trieTokens), ratio, countedBatches };
}
