import type { Example } from "../data/batch.ts";
import type { Indexed } from "../data/indexed.ts";
import type { Measures } from "../objectives/measures.ts";
import type { ScoredSequence } from "../objectives/objective.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { batchFeeds, packBatch } from "./batch.ts";
import { evaluationGraph, type StepSubject } from "./step-graphs.ts";
import { keepsArena } from "./updater.ts";
import { scoredSequences } from "./weighing.ts";

/** Examples side by side in an evaluation. */
export const EVALUATION_BATCH = 16;

/** Loss and measures over examples. */
export interface EvaluationResult extends Measures {
  /** Mean over labels: nats per token, or as the objective says. */
  readonly loss: number;
  /** Labels: tokens, or one per example where an objective says so. */
  readonly labelTokens: number;
}

/** Scores examples with the parameters that are in the runtime. */
export interface EvaluationEngine {
  evaluate(
    examples: Indexed<Example>,
    options?: { readonly signal?: AbortSignal; readonly onBatch?: (done: number) => void },
  ): Promise<EvaluationResult>;
  close(): Promise<void>;
}

/** Loads the evaluation graph. Batches hold up to `batchSize` examples. `folder`: of the weights. */
export async function createEvaluationEngine(
  runtime: Runtime,
  subject: StepSubject,
  folder: string,
  batchSize: number = EVALUATION_BATCH,
): Promise<EvaluationEngine> {
  const { model, objective, chunks } = subject;
  const session = await runtime.load(evaluationGraph(subject), {
    folder,
    arena: keepsArena(model),
    prepack: false,
  });
  return {
    evaluate: async (examples, { signal, onBatch } = {}) => {
      let [sum, labels] = [0, 0];
      const scorer = objective.scorer(model);
      const sequences: ScoredSequence[] = [];
      for (let i = 0; i < examples.length; i += batchSize) {
        signal?.throwIfAborted();
        const batch = packBatch(examples.slice(i, i + batchSize), subject);
        const out = await session.run(batchFeeds(batch, chunks));
        sum += Number(out.loss?.data[0]);
        labels += batch.labelCount;
        scorer.add(out, batch);
        sequences.push(...scoredSequences(batch, out));
        onBatch?.(Math.min(i + batchSize, examples.length));
      }
      const loss = objective.weigh?.(sequences).loss ?? sum / labels;
      return { loss, labelTokens: labels, ...scorer.measures(loss, labels) };
    },
    close: () => session.close(),
  };
}
