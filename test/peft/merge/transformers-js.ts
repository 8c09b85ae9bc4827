import {
  AutoTokenizer,
  env,
  type FeatureExtractionPipeline,
  type PreTrainedModel,
  pipeline,
  Tensor,
  type TextClassificationPipeline,
  type TextGenerationPipeline,
} from "@huggingface/transformers";
import type { OnnxVariant } from "../../../src/formats/transformers-js/layout.ts";

// The library itself, in Node, on folders only.
env.allowRemoteModels = false;
env.localModelPath = "/";

interface Pipelines {
  "text-generation": TextGenerationPipeline;
  "feature-extraction": FeatureExtractionPipeline;
  "text-classification": TextClassificationPipeline;
}

/** Opens a folder as everybody does. */
export async function openPipeline<K extends keyof Pipelines>(
  task: K,
  folder: string,
  dtype?: OnnxVariant,
): Promise<Pipelines[K]> {
  const opened = await pipeline(task as "text-generation", folder, dtype === undefined ? {} : { dtype });
  return opened as unknown as Pipelines[K];
}

export { AutoTokenizer };

/** Sequences padded on the left, as its pipelines pad prompts. */
function inputsOf(sequences: readonly (readonly number[])[]): { input_ids: Tensor; attention_mask: Tensor } {
  const length = Math.max(...sequences.map((ids) => ids.length));
  const padded = (ids: readonly number[], fill: (i: number) => number): bigint[] =>
    Array.from({ length }, (_, i) => {
      const at = i - (length - ids.length);
      return BigInt(at < 0 ? 0 : fill(at));
    });
  const tensor = (rows: bigint[][]): Tensor =>
    new Tensor("int64", BigInt64Array.from(rows.flat()), [rows.length, length]);
  return {
    input_ids: tensor(sequences.map((ids) => padded(ids, (i) => ids[i] as number))),
    attention_mask: tensor(sequences.map((ids) => padded(ids, () => 1))),
  };
}

/** Greedy continuations of sequences side by side, each of `count` tokens. */
export async function continueWith(
  model: PreTrainedModel,
  sequences: readonly (readonly number[])[],
  count: number,
): Promise<number[][]> {
  const how = { max_new_tokens: count, min_new_tokens: count, do_sample: false, eos_token_id: [] };
  const ids = (await model.generate({ ...inputsOf(sequences), ...how } as never)) as Tensor;
  return (ids.tolist() as bigint[][]).map((row) => row.slice(-count).map(Number));
}

/** Logits [T·V] of one sequence. */
export async function logitsWith(model: PreTrainedModel, ids: readonly number[]): Promise<Float32Array> {
  const { logits } = (await model(inputsOf([ids]))) as { logits: Tensor };
  return logits.data as Float32Array;
}
