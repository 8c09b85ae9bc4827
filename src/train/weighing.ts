import { type PackedBatch, weighted } from "../data/batch.ts";
import type { ScoredSequence, SequenceLoss } from "../objectives/objective.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** The sequences of a traced batch with their log-probabilities. `outputs`: those of `logProbabilityGraph`, or of an
 *  evaluation. */
export function scoredSequences(
  batch: PackedBatch,
  outputs: Readonly<Record<string, Tensor>>,
): ScoredSequence[] {
  const chunks = Object.keys(outputs).filter((name) => name.startsWith("logProbabilities.")).length;
  const perChunk = batch.edgeWeights.length / chunks;
  const at = (e: number): number =>
    Number(outputs[`logProbabilities.${Math.floor(e / perChunk)}`]?.data[e % perChunk]);
  return (batch.paths ?? []).map(({ example, edges }) => ({
    example,
    logProbability: edges.reduce((sum, e) => sum + at(e), 0),
    labelCount: edges.length,
  }));
}

/** Batches with their labels weighed as a loss of their sequences says, in the order of `scoredSequences`. */
export function weightedBatches(
  batches: readonly PackedBatch[],
  { weights }: Pick<SequenceLoss, "weights">,
): PackedBatch[] {
  let first = 0;
  return batches.map((batch) => {
    const count = batch.paths?.length ?? 0;
    first += count;
    return weighted(batch, weights.slice(first - count, first));
  });
}
