import type { Example } from "../data/batch.ts";
import type { Indexed } from "../data/indexed.ts";
import type { Measures } from "../objectives/measures.ts";
import type { ScoredSequence } from "../objectives/objective.ts";
import { type JointWork, jointWork } from "../parallel/joint.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Tensor } from "../tensor/tensor.ts";
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
  /** Members of a group take batches in turn; each gets the result, which is that of one member alone. */
  evaluate(
    examples: Indexed<Example>,
    options?: { readonly joint?: JointWork; readonly onBatch?: (done: number) => void },
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
    evaluate: async (examples, { joint = jointWork(), onBatch } = {}) => {
      const { rank, size, gather } = joint.group;
      let [sum, labels] = [0, 0];
      const scorer = objective.scorer(model);
      const sequences: ScoredSequence[] = [];
      for (let i = 0; i < examples.length; i += size * batchSize) {
        await joint.check();
        const batches = Array.from({ length: size }, (_, k) => i + k * batchSize)
          .filter((first) => first < examples.length)
          .map((first) => packBatch(examples.slice(first, first + batchSize), subject));
        const own = batches[rank];
        const outs = await gather(own ? await session.run(batchFeeds(own, chunks)) : {});
        for (const [k, batch] of batches.entries()) {
          const out = outs[k] as Readonly<Record<string, Tensor>>;
          sum += Number(out.loss?.data[0]);
          labels += batch.labelCount;
          scorer.add(out, batch);
          sequences.push(...scoredSequences(batch, out));
        }
        onBatch?.(Math.min(i + size * batchSize, examples.length));
      }
      const loss = objective.weigh?.(sequences).loss ?? sum / labels;
      return { loss, labelTokens: labels, ...scorer.measures(loss, labels) };
    },
    close: () => session.close(),
  };
}
