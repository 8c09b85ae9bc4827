import { foldRows } from "../../graph/ops/index.ts";
import { input, type Value } from "../../graph/value.ts";
import type { BaseModel } from "../../models/base.ts";
import { batchAttention } from "../../models/base-context.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { floats, ints } from "../../tensor/tensor.ts";
import type { Adaptation } from "../use/active.ts";
import { type AdaptedModel, adaptedContext, adaptedGraph, forwardAdapted } from "../use/adapted-model.ts";

/** What the logits are compared on. */
const TEXT =
  "def main():\n    return 42  # The quick brown fox jumps over the lazy dog, twice a day; so it says.";
const MAX_TOKENS = 32;

/** How far a merged model is from base and adapter apart. */
export interface LogitComparison {
  /** Largest |difference| over all logits of a short text. */
  readonly maxDifference: number;
  /** Largest |logit| of base and adapter apart: what the difference is to be measured by. */
  readonly maxLogit: number;
}

/** What of a model is looked at: logits after each token, or the last hidden states, which encoders without a head have too. */
export type OutputKind = "logits" | "hidden";

/** Logits [T, V] or hidden states [T, d] of one sequence. */
function outputGraph(model: AdaptedModel, length: number, kind: OutputKind): Record<string, Value> {
  const ids = input("tokens", "int32", [1, length]);
  const positions = input("positions", "int32", [1, length]);
  const columns = input("columns", "int32", [length]);
  const ends = input("ends", "int32", [1, length]);
  return adaptedGraph(model, { ids }, (inputs) => {
    const ctx = adaptedContext(model, inputs, batchAttention(model.config, { columns, ends, positions }));
    const hidden = forwardAdapted(model, ctx, { ids, positions }, model.positionCount);
    const rows = foldRows(hidden);
    return { outputs: kind === "logits" ? model.family.logits(ctx, rows) : rows };
  });
}

/** What a model makes of a sequence, in float32: [T·V] logits or [T·d] hidden states. */
export async function outputsOf(
  base: BaseModel,
  adapter: Adaptation | null,
  ids: Int32Array,
  runtime: Runtime,
  kind: OutputKind = "logits",
): Promise<Float32Array> {
  const { config, family, modules, frozen } = base;
  const length = ids.length;
  const methods = adapter?.methods ?? [];
  const model = { config, family, modules, frozen, methods, positionCount: length, rowTokens: length };
  // One run does not pay for private copies of the weights.
  const session = await runtime.load(outputGraph(model, length, kind), {
    folder: base.weights.folder,
    prepack: false,
  });
  try {
    const count = Int32Array.from({ length }, (_, i) => i);
    const { outputs } = await session.run({
      tokens: ints(ids, [1, length]),
      positions: ints(Int32Array.from(count), [1, length]),
      columns: ints(count, [length]),
      ends: ints(new Int32Array(length).fill(length), [1, length]),
      ...(adapter ? { theta: floats(adapter.theta, [adapter.theta.length]) } : {}),
    });
    return outputs?.data as Float32Array;
  } finally {
    await session.close();
  }
}

/** The ids that models are compared on, at most so many. */
export function checkIds({ tokenizer }: BaseModel, maxTokens: number): Int32Array {
  const text = tokenizer.encode(TEXT).slice(0, Math.min(MAX_TOKENS, maxTokens));
  return Int32Array.from(text.length > 0 ? text : [0]);
}

/** Runs a short text through base and adapter (null: the base alone), and through the merged model. NaN anywhere gives NaN. */
export async function compareLogits(
  base: BaseModel,
  adapter: Adaptation | null,
  merged: BaseModel,
  runtime: Runtime,
): Promise<LogitComparison> {
  // A GGUF file's context may be shorter than the base's, where llama.cpp has no sliding window.
  const ids = checkIds(base, Math.min(base.config.maxPositions, merged.config.maxPositions));
  const apart = await outputsOf(base, adapter, ids, runtime);
  const together = await outputsOf(merged, null, ids, runtime);
  let [maxDifference, maxLogit] = [0, 0];
  for (let i = 0; i < apart.length; i++) {
    const x = apart[i] as number;
    maxDifference = Math.max(maxDifference, Math.abs(x - (together[i] as number)));
    maxLogit = Math.max(maxLogit, Math.abs(x));
  }
  return { maxDifference, maxLogit };
}
