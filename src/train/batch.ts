import type { Example, PackedBatch } from "../data/batch.ts";
import { largestSum, type StoredExamples } from "../data/example-store.ts";
import { packingCosts } from "../data/trie.ts";
import { random } from "../tensor/random.ts";
import { floats, ints, iota, type Tensor } from "../tensor/tensor.ts";
import { MAX_CHUNK_EDGES, rowBucket, type StepSubject } from "./step-graphs.ts";

const BUCKET_EDGES = 8;

/** Number of chunks that keeps every batch's edges within bounds. */
export function chunkCount(maxEdges: number): number {
  return Math.max(1, Math.ceil(maxEdges / MAX_CHUNK_EDGES));
}

/** Label tokens that a batch of `size` examples can have at most. */
export function maxBatchLabels({ labelCounts }: Pick<StoredExamples, "labelCounts">, size: number): number {
  return largestSum(labelCounts, size);
}

/** Packs examples for the graphs of a step; with its sequences' edges, where the objective weighs sequences. */
export function packBatch(
  examples: readonly Example[],
  { model, objective, chunks }: StepSubject,
): PackedBatch {
  return objective.pack(examples, {
    bucket: rowBucket(model),
    stem: true,
    edgeBucket: BUCKET_EDGES * chunks,
    costs: packingCosts(model.config),
    traced: objective.weigh !== null,
  });
}

/** A packed batch as graph inputs. */
export function batchFeeds(batch: PackedBatch, chunks: number): Record<string, Tensor> {
  const { rows, length } = batch;
  const feeds: Record<string, Tensor> = {
    tokens: ints(batch.tokens, [rows, length]),
    positions: ints(batch.positions, [rows, length]),
    ends: ints(batch.ends, [rows, length]),
    columns: iota(length),
    rowIndices: iota(rows),
    stemColumns: iota(batch.stem),
  };
  if (batch.types) feeds.types = ints(batch.types, [rows, length]);
  const size = batch.edgeNodes.length / chunks;
  for (let i = 0; i < chunks; i++) {
    const [from, to] = [i * size, (i + 1) * size];
    feeds[`edgeNodes.${i}`] = ints(batch.edgeNodes.slice(from, to), [size]);
    feeds[`edgeLabels.${i}`] = ints(batch.edgeLabels.slice(from, to), [size]);
    if (batch.edgeTargets) feeds[`edgeTargets.${i}`] = floats(batch.edgeTargets.slice(from, to), [size]);
    feeds[`edgeWeights.${i}`] = floats(batch.edgeWeights.slice(from, to), [size]);
  }
  return feeds;
}

/** Random numbers of a batch's dropout, [R, T, 1]: the same for the same seed and stream. */
export function noiseFeed(batch: PackedBatch, seed: number, stream: string): Tensor {
  const generator = random(seed, stream);
  const data = Int32Array.from({ length: batch.rows * batch.length }, () => generator.uint32() | 0);
  return ints(data, [batch.rows, batch.length, 1]);
}
