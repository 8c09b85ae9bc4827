import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import type { Example } from "../../../src/data/batch.ts";
import type { Method } from "../../../src/peft/method.ts";
import { createMethods, type MethodOptions, openMethod } from "../../../src/peft/methods/table.ts";
import { flatten, initialParameters, unflatten } from "../../../src/peft/parameters.ts";
import type { Runtime } from "../../../src/runtime/runtime.ts";
import { type FloatTensor, floats, ints, type Tensor } from "../../../src/tensor/tensor.ts";
import { batchFeeds, packBatch } from "../../../src/train/batch.ts";
import { trainConfig } from "../../../src/train/config/config.ts";
import { gradientGraph } from "../../../src/train/step-graphs.ts";
import {
  expectedOf,
  loadPadded,
  openTiny,
  paddedFeeds,
  readTensors,
  subjectOf,
  type TinyModel,
} from "../../models/harness.ts";
import { fixturePath } from "../adapters.ts";

/** A case of test/fixtures/methods, opened on its model. */
export interface RelativeCase {
  readonly tiny: TinyModel;
  readonly method: Method;
  /** θ of the file. */
  readonly theta: Float32Array;
  /** adapter_model.safetensors. */
  readonly tensors: ReadonlyMap<string, FloatTensor>;
  readonly expected: ReadonlyMap<string, Tensor>;
  readonly folder: string;
}

/** Opens a case of a `set` of test/fixtures/methods; `model` of test/fixtures/models. */
export async function openCase(
  name: string,
  model: string,
  set: string = "lora-relatives",
): Promise<RelativeCase> {
  const folder = fixturePath(`methods/${set}/${name}`);
  const tiny = await openTiny(model);
  const config = JSON.parse(await readFile(join(folder, "adapter_config.json"), "utf8"));
  const tensors = (await readTensors(join(folder, "adapter_model.safetensors"))) as Map<string, FloatTensor>;
  const { method, warnings } = openMethod(config, tiny.model, name);
  expect(warnings).toEqual([]);
  const theta = flatten(method.files.read(tensors, name), method.trainables);
  const expected = await readTensors(join(folder, "expected.safetensors"));
  return { tiny, method, theta, tensors, expected, folder };
}

/** A method on a tiny model as training would make it. */
export function createOn(tiny: TinyModel, name: string, options: Partial<MethodOptions> = {}): Method {
  const [method] = createMethods(name, { ...trainConfig({}), rank: 3, alpha: 6, ...options }, tiny.model);
  return method as Method;
}

/** Starting values of methods on a tiny model. */
export function startOf(tiny: TinyModel, methods: readonly Method[], seed = 1): Promise<Float32Array> {
  const trainables = methods.flatMap((m) => m.trainables);
  return initialParameters(trainables, seed, (path) =>
    tiny.file.read(path === "head.weight" && tiny.config.tiedEmbeddings ? "embed.weight" : path),
  );
}

/** Logits, loss and (of methods) gradient of the padded batch of a tiny model. */
export async function runPadded(
  runtime: Runtime,
  tiny: TinyModel,
  methods: readonly Method[],
  theta: Float32Array,
): Promise<{ logits: Tensor; loss: number; gradient: Float32Array }> {
  const session = await loadPadded(runtime, tiny, { ...tiny.model, methods });
  const adapted = methods.length > 0 ? { theta: floats(theta, [theta.length]) } : {};
  const got = await session.run({ ...paddedFeeds(tiny), ...adapted });
  await session.close();
  return {
    logits: got.logits as Tensor,
    loss: got.loss?.data[0] as number,
    gradient: got.gradient?.data as Float32Array,
  };
}

/** Gradient by key of the method's file. */
export function gradientByKey(method: Method, gradient: Float32Array): ReadonlyMap<string, FloatTensor> {
  return method.files.write(unflatten(gradient, method.trainables));
}

/** Loss and gradient that training's own graph computes for batches, per label token of all of them. */
export async function trainedGradient(
  runtime: Runtime,
  tiny: TinyModel,
  methods: readonly Method[],
  theta: Float32Array,
  batches: readonly (readonly Example[])[],
): Promise<{ loss: number; gradient: Float32Array; nodes: number }> {
  const model = { ...tiny.model, methods };
  const session = await runtime.load(gradientGraph(subjectOf(model)), { folder: tiny.file.folder });
  const packed = batches.map((b) => packBatch(b, subjectOf(model)));
  const labels = packed.reduce((n, b) => n + b.labelCount, 0);
  let gradient = new Float32Array(theta.length);
  let loss = 0;
  for (const batch of packed) {
    const { rows, length } = batch;
    const feeds: Record<string, Tensor> = {
      ...batchFeeds(batch, 1),
      noise: ints(new Int32Array(rows * length), [rows, length, 1]),
      lossScale: floats(Float32Array.of(1 / labels), []),
      penaltyScale: floats(Float32Array.of(1 / packed.length), []),
      theta: floats(theta, [theta.length]),
      gradient: floats(gradient, [theta.length]),
    };
    const taken = session.graph.inputs.map((i) => i.name);
    const out = await session.run(Object.fromEntries(taken.map((n) => [n, feeds[n] as Tensor])));
    gradient = out["gradient.next"]?.data as Float32Array<ArrayBuffer>;
    loss += out.loss?.data[0] as number;
  }
  await session.close();
  return { loss, gradient, nodes: packed.reduce((n, b) => n + b.trieTokens, 0) };
}

/** Largest |difference|, over the largest |wanted| where `relative`. NaN anywhere gives NaN. */
export function difference(got: ArrayLike<number>, want: ArrayLike<number>, relative = false): number {
  expect(got.length).toBe(want.length);
  let [worst, largest] = [0, relative ? 0 : 1];
  for (let i = 0; i < got.length; i++) {
    const d = Math.abs((got[i] as number) - (want[i] as number));
    if (!(d <= worst)) worst = d;
    if (relative) largest = Math.max(largest, Math.abs(want[i] as number));
  }
  return worst / largest;
}

/** The two sequences of a tiny model's padded batch as examples, padding left out. */
export function paddedExamples(tiny: TinyModel): Example[] {
  const [ids, labels, mask] = ["input_ids", "labels", "attention_mask"].map(
    (name) => expectedOf(tiny, name).data as Int32Array,
  ) as [Int32Array, Int32Array, Int32Array];
  return [0, 1].map((row) => {
    const length = mask.slice(row * 12, row * 12 + 12).reduce((a, b) => a + b, 0);
    const cut = (x: Int32Array): Int32Array => x.slice(row * 12, row * 12 + length);
    return { ids: cut(ids), isLabel: Uint8Array.from(cut(labels), (l) => (l === -100 ? 0 : 1)), index: row };
  });
}
