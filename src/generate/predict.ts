import type { Classifier } from "../formats/model.ts";
import { gather } from "../graph/ops/index.ts";
import { input, type Value } from "../graph/value.ts";
import { encoderOf } from "../models/family.ts";
import type { AdaptedModel } from "../peft/use/adapted-model.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { ints, type Tensor } from "../tensor/tensor.ts";
import { topIndex } from "../tensor/top-index.ts";
import { packedSequences, sequenceGraph, type WholeSequence } from "./whole-sequences.ts";

/** What an encoder makes of one text or pair. */
export interface Prediction {
  /** Index of the likeliest class, or the value. */
  readonly target: number;
  /** [n] probabilities of the classes; the value alone. */
  readonly scores: readonly number[];
}

/** Logits [E, n] at the first tokens (`edgeNodes`) of a batch of whole sequences. */
function predictionGraph(model: AdaptedModel): Record<string, Value> {
  return sequenceGraph(model, (ctx, hidden) => ({
    logits: model.family.logits(ctx, gather(hidden, input("edgeNodes", "int32", ["E"]))),
  }));
}

/** Runs sequences through an encoder. θ, where something is adapted, is what was `put` as "theta". */
export interface Predictor {
  predict(sequences: readonly WholeSequence[]): Promise<Prediction[]>;
  close(): Promise<void>;
}

/** Loads the graph of an encoder. */
export async function createPredictor(
  runtime: Runtime,
  model: AdaptedModel,
  folder: string,
  options: { readonly prepack?: boolean } = {},
): Promise<Predictor> {
  const session = await runtime.load(predictionGraph(model), { folder, ...options });
  const { labels, kind } = encoderOf(model.config).classifier;
  return {
    predict: async (sequences) => {
      const { batch, feeds } = packedSequences(sequences);
      const edgeNodes = ints(batch.edgeNodes, [batch.edgeNodes.length]);
      const outputs = await session.run({ ...feeds, edgeNodes });
      const logits = (outputs.logits as Tensor).data as Float32Array;
      const predictions = new Array<Prediction>(sequences.length);
      for (let e = 0; e < sequences.length; e++) {
        const row = logits.slice(e * labels.length, (e + 1) * labels.length);
        predictions[batch.edgeLabels[e] as number] = predictionOf(row, kind);
      }
      return predictions;
    },
    close: () => session.close(),
  };
}

/** `createPredictor` for one call. */
export async function predict(
  runtime: Runtime,
  model: AdaptedModel,
  folder: string,
  sequences: readonly WholeSequence[],
): Promise<Prediction[]> {
  const predictor = await createPredictor(runtime, model, folder, { prepack: false });
  try {
    return await predictor.predict(sequences);
  } finally {
    await predictor.close();
  }
}

function predictionOf(logits: Float32Array, kind: Classifier["kind"]): Prediction {
  if (kind === "value") return { target: logits[0] as number, scores: [logits[0] as number] };
  const top = topIndex(logits);
  const powers = Array.from(logits, (x) => Math.exp(x - (logits[top] as number)));
  const sum = powers.reduce((a, b) => a + b, 0);
  return { target: top, scores: powers.map((p) => p / sum) };
}

/** A target as people read it: a class's name, or the value. */
export function outputText(target: number, { labels, kind }: Classifier): string {
  return kind === "value" ? String(Number(target.toPrecision(6))) : (labels[target] ?? String(target));
}
