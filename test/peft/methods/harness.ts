import { expect } from "vitest";
import type { Example, PackedBatch } from "../../../src/data/batch.ts";
import { foldRows } from "../../../src/graph/ops/index.ts";
import { input, type Value } from "../../../src/graph/value.ts";
import { batchAttention } from "../../../src/models/base-context.ts";
import { parameterCount, viewsOf } from "../../../src/peft/parameters.ts";
import {
  type AdaptedModel,
  adaptedContext,
  forwardAdapted,
  trainablesOf,
} from "../../../src/peft/use/adapted-model.ts";
import type { Runtime } from "../../../src/runtime/runtime.ts";
import { floats, ints, type Tensor } from "../../../src/tensor/tensor.ts";
import { batchFeeds } from "../../../src/train/batch.ts";
import { gradientGraph } from "../../../src/train/step-graphs.ts";
import { subjectOf } from "../../models/harness.ts";

/** The trainer's own graph of one micro-step, loaded: loss in nats per label and gradient [|Θ|] of packed batches. */
export interface GradientRunner {
  run(theta: Float32Array, batch: PackedBatch): Promise<{ loss: number; gradient: Float32Array }>;
  close(): Promise<void>;
}

/** Loads the graph of one micro-step. Dropout noise, where the graph takes it, is all zeros. */
export async function loadGradient(
  runtime: Runtime,
  model: AdaptedModel,
  folder: string,
): Promise<GradientRunner> {
  const session = await runtime.load(gradientGraph(subjectOf(model)), { folder });
  const needsNoise = session.graph.inputs.some((i) => i.name === "noise");
  return {
    run: async (theta, batch) => {
      const { rows, length } = batch;
      const noise = { noise: ints(new Int32Array(rows * length), [rows, length, 1]) };
      const got = await session.run({
        ...batchFeeds(batch, 1),
        ...(needsNoise ? noise : {}),
        lossScale: floats(Float32Array.of(1 / batch.labelCount), []),
        theta: floats(theta, [theta.length]),
        gradient: floats(new Float32Array(theta.length), [theta.length]),
      });
      return { loss: Number(got.loss?.data[0]), gradient: got["gradient.next"]?.data as Float32Array };
    },
    close: () => session.close(),
  };
}

/** Loss and gradient of one batch. */
export async function lossAndGradient(
  runtime: Runtime,
  model: AdaptedModel,
  folder: string,
  theta: Float32Array,
  batch: PackedBatch,
): Promise<{ loss: number; gradient: Float32Array }> {
  const runner = await loadGradient(runtime, model, folder);
  try {
    return await runner.run(theta, batch);
  } finally {
    await runner.close();
  }
}

/** Logits [T][V] after each token of one sequence, computed at once, without a cache. θ as `put` in the runtime. */
export async function sequenceLogits(
  runtime: Runtime,
  model: AdaptedModel,
  folder: string,
  sequence: readonly number[],
): Promise<Float32Array[]> {
  const length = sequence.length;
  const ids = input("tokens", "int32", [1, length]);
  const positions = input("positions", "int32", [1, length]);
  const indices = input("columns", "int32", [length]);
  const ends = input("ends", "int32", [1, length]);
  const trainables = trainablesOf(model.methods);
  const theta = input("theta", "float32", [parameterCount(trainables)]);
  const views = trainables.length > 0 ? viewsOf(theta, trainables) : new Map<string, Value>();
  const trainable = (name: string): Value => views.get(name) as Value;
  const ctx = adaptedContext(
    model,
    { trainable, noise: null, ids },
    batchAttention(model.config, { columns: indices, ends, positions }),
  );
  const hidden = forwardAdapted(model, ctx, { ids, positions }, model.positionCount);
  const session = await runtime.load({ logits: ctx.linear("head", foldRows(hidden)) }, { folder });
  const columns = Int32Array.from({ length }, (_, i) => i);
  const { logits } = await session.run({
    tokens: ints(Int32Array.from(sequence), [1, length]),
    positions: ints(Int32Array.from(columns), [1, length]),
    columns: ints(columns, [length]),
    ends: ints(new Int32Array(length).fill(length), [1, length]),
  });
  await session.close();
  return rowsOf(logits as Tensor, length);
}

function rowsOf({ data }: Tensor, count: number): Float32Array[] {
  const width = data.length / count;
  return Array.from({ length: count }, (_, r) => (data as Float32Array).subarray(r * width, (r + 1) * width));
}

/** Largest |a − b|; NaN if any is. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let worst = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs((a[i] as number) - (b[i] as number));
    if (!(difference <= worst)) worst = difference;
  }
  return worst;
}

/** Largest difference over the largest value wanted. */
export function relativeDifference(got: ArrayLike<number>, want: ArrayLike<number>): number {
  return largestDifference(got, want) / Array.from(want).reduce((m, x) => Math.max(m, Math.abs(x)), 0);
}

/** Examples whose ids, and those of their labels, are moved into a range that a model knows. */
export function shifted(examples: readonly Example[], by: number): Example[] {
  return examples.map((e) => ({ ...e, ids: e.ids.map((id) => id + by) }));
}
