import { afterAll, beforeAll, expect, test } from "vitest";
import { InputError } from "../../../src/errors.ts";
import { hfModuleName } from "../../../src/formats/names.ts";
import { input, type Value } from "../../../src/graph/value.ts";
import type { AfterUpdate } from "../../../src/peft/method.ts";
import { budgetPhase } from "../../../src/peft/methods/adalora-budget.ts";
import type { AdaLoraOptions } from "../../../src/peft/methods/adalora-options.ts";
import { createMethods } from "../../../src/peft/methods/table.ts";
import { flatten, trainedCount, unflatten } from "../../../src/peft/parameters.ts";
import { openRuntime, type Runtime } from "../../../src/runtime/runtime.ts";
import { random } from "../../../src/tensor/random.ts";
import { type FloatTensor, floats, scalar, type Tensor } from "../../../src/tensor/tensor.ts";
import { trainConfig } from "../../../src/train/config/config.ts";
import { randomExamples } from "../../data/random-examples.ts";
import { expectedOf, openTiny, type TinyModel } from "../../models/harness.ts";
import {
  difference,
  gradientByKey,
  openCase,
  paddedExamples,
  runPadded,
  startOf,
  trainedGradient,
} from "./relatives.ts";

// As in test/peft/lora-relatives.test.ts.
const LOGITS = 1e-4;
const LOSS = 2e-5;
const GRADIENT = 1e-4;
// The fixture's.
const OPTIONS = {
  targetRank: 2,
  rankWarmupSteps: 1,
  rankFinalSteps: 1,
  rankInterval: 2,
  orthogonality: 0.5,
};

let runtime: Runtime;
let tiny: TinyModel;
beforeAll(async () => {
  runtime = openRuntime({ threads: 1 });
  tiny = await openTiny("llama");
});
afterAll(async () => {
  await tiny.close();
  await runtime.close();
});

const numbersOf = (tensor: Tensor | undefined): Float32Array => tensor?.data as Float32Array;

/** As the fixture's, for training. */
function create(adaLora: Partial<AdaLoraOptions> = {}) {
  const options = trainConfig({ rank: 4, alpha: 6, targetModules: ["q_proj", "down_proj"] });
  const [method] = createMethods("adalora", { ...options, ...OPTIONS, ...adaLora }, tiny.model);
  return method as NonNullable<typeof method>;
}

test.each(["adalora", "adalora-pruned"])(
  "%s, an adapter of PEFT: logits, and written as it was read",
  async (name) => {
    const c = await openCase(name, "llama");
    const got = await runPadded(runtime, c.tiny, [c.method], c.theta);
    const logits = numbersOf(c.expected.get("logits"));
    expect(difference(numbersOf(got.logits), logits)).toBeLessThan(LOGITS);
    expect(difference(logits, numbersOf(expectedOf(c.tiny, "logits")))).toBeGreaterThan(0.03);
    const written = c.method.files.write(c.method.files.read(c.tensors, name));
    expect([...written.keys()].sort()).toEqual([...c.tensors.keys()].sort());
    for (const [key, tensor] of c.tensors) expect(written.get(key), key).toEqual(tensor);
    await c.tiny.close();
  },
);

test("the gradient in training is PEFT's, the penalty included", async () => {
  const c = await openCase("adalora", "llama");
  const method = create();
  const theta = flatten(method.files.read(c.tensors, "file"), method.trainables);
  const got = await trainedGradient(runtime, c.tiny, [method], theta, [paddedExamples(c.tiny)]);
  expect(Math.abs(got.loss - (numbersOf(c.expected.get("plainLoss"))[0] as number))).toBeLessThan(LOSS);
  const grads = gradientByKey(method, got.gradient);
  const keys = [...c.expected.keys()].filter((k) => k.startsWith("grad.")).map((k) => k.slice(5));
  expect(keys.sort()).toEqual([...c.tensors.keys()].sort());
  for (const key of keys) {
    const want = numbersOf(c.expected.get(`grad.${key}`));
    expect(difference(numbersOf(grads.get(key)), want, true), key).toBeLessThan(GRADIENT);
  }
  await c.tiny.close();
});

test("the singular values that PEFT's rank allocator drops, step by step", async () => {
  const c = await openCase("adalora", "llama");
  const method = create();
  const afterUpdate = method.afterUpdate as AfterUpdate;
  const shapes = new Map(method.trainables.map((t) => [t.name, t.shape]));
  const inputs = new Map<string, Value>(); // one node for each name
  const named = (prefix: string) => (name: string) => {
    const value = inputs.get(prefix + name) ?? input(prefix + name, "float32", shapes.get(name) ?? []);
    inputs.set(prefix + name, value);
    return value;
  };
  const next = afterUpdate.apply({
    trainable: named(""),
    gradient: named("grad."),
    scalar: named("scalar."),
  });
  const session = await runtime.load(Object.fromEntries([...next].map(([n, v]) => [`next.${n}`, v])));
  const values = new Map(method.files.read(c.tensors, "file"));
  const triplets = method.trainables.filter((t) => !t.fixed).map((t) => t.name);
  const traceKey = (name: string): string => {
    const [, path, side] = /^(.*)\.adalora([ABE])$/.exec(name) as unknown as [string, string, string];
    return `base_model.model.${hfModuleName("llama", path)}.lora_${side}`;
  };
  const dropped: number[] = [];
  for (let step = 1; step <= 5; step++) {
    const grads = new Map(
      triplets.map((n) => [n, c.expected.get(`trace.${step}.grad.${traceKey(n)}`) as FloatTensor]),
    );
    for (const [n, g] of grads) {
      const before = values.get(n) as FloatTensor;
      values.set(
        n,
        floats(
          before.data.map((x, i) => Math.fround(x - Math.fround(0.5 * (g.data[i] as number)))),
          before.shape,
        ),
      );
    }
    const scalars = Object.entries(afterUpdate.scalars(step, 5)).map(
      ([n, x]) => [`scalar.${n}`, scalar(x)] as const,
    );
    const feeds = new Map<string, Tensor>([
      ...values,
      ...[...grads].map(([n, g]) => [`grad.${n}`, g] as const),
      ...scalars,
    ]);
    const taken = session.graph.inputs.map((i) => i.name);
    const out = await session.run(Object.fromEntries(taken.map((n) => [n, feeds.get(n) as Tensor])));
    for (const [n, tensor] of Object.entries(out)) values.set(n.slice(5), tensor as FloatTensor);
    let zeros = 0;
    for (const n of triplets) {
      const want = numbersOf(c.expected.get(`trace.${step}.${traceKey(n)}`));
      const got = numbersOf(values.get(n));
      expect(difference(got, want), `${n} after step ${step}`).toBeLessThan(1e-6);
      if (n.endsWith("E")) zeros += got.filter((x) => x === 0).length;
    }
    dropped.push(zeros);
  }
  expect(dropped).toEqual([0, 6, 0, 8, 8]); // of 16; between two choices what was dropped may come back
  await session.close();
  await c.tiny.close();
});

test("the budget falls from all triplets to the target by a cube", () => {
  const at = (step: number) =>
    budgetPhase(
      { ...OPTIONS, rankWarmupSteps: 10, rankFinalSteps: 20, rankInterval: 10 },
      { first: 160, target: 80 },
      step,
      100,
    );
  expect(at(10)).toEqual({ measure: 1, choose: 0, dropped: 0, hold: 0 });
  expect(at(15)).toEqual({ measure: 1, choose: 0, dropped: 0, hold: 0 });
  expect(at(20)).toEqual({
    measure: 1,
    choose: 1,
    dropped: 160 - Math.trunc(80 * (6 / 7) ** 3 + 80),
    hold: 0,
  });
  expect(at(80)).toEqual({ measure: 0, choose: 1, dropped: 80, hold: 0 });
  expect(at(81)).toEqual({ measure: 0, choose: 0, dropped: 0, hold: 1 });
  const none = () =>
    budgetPhase({ ...OPTIONS, rankWarmupSteps: 3, rankFinalSteps: 2 }, { first: 4, target: 2 }, 1, 5);
  expect(none).toThrow(InputError);
  expect(none).toThrow(
    "rankWarmupSteps: 3 steps before and 2 after the fall of ranks leave none of 5 for it",
  );
});

test("size, start, and what does not fit", async () => {
  const method = create();
  expect(trainedCount(method.trainables)).toBe(2 * 4 * (32 + 32 + 1 + 64 + 32 + 1)); // Σ r(d_in + d_out + 1)
  const base = await runPadded(runtime, tiny, [], new Float32Array(0));
  const got = await runPadded(runtime, tiny, [method], await startOf(tiny, [method]));
  expect(got.logits).toEqual(base.logits);
  expect(() => create({ targetRank: 5 })).toThrow("targetRank: expected at most the rank, 4, got 5");
});

test("examples packed into a trie have the loss and gradient of each by itself", async () => {
  const method = create({ orthogonality: 0 });
  const generator = random(2, "moved");
  const theta = (await startOf(tiny, [method])).map((x) => x + 0.1 * generator.normal());
  const examples = randomExamples(6, random(1)).filter((e) => e.isLabel.some((l) => l === 1));
  const packed = await trainedGradient(runtime, tiny, [method], theta, [examples]);
  const apart = await trainedGradient(
    runtime,
    tiny,
    [method],
    theta,
    examples.map((e) => [e]),
  );
  expect(Math.abs(packed.loss - apart.loss)).toBeLessThan(LOSS);
  expect(difference(packed.gradient, apart.gradient, true)).toBeLessThan(GRADIENT);
  const state = [...unflatten(packed.gradient, method.trainables)].filter(([n]) => n.startsWith("adalora."));
  expect(state.map(([n, g]) => [n, g.data.every((x) => x === 0)])).toEqual([
    ["adalora.importance", true],
    ["adalora.uncertainty", true],
    ["adalora.mask", true],
  ]);
});
