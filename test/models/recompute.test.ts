import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Example } from "../../src/data/batch.ts";
import { serialize } from "../../src/graph/onnx.ts";
import type { Method, Trainable } from "../../src/peft/method.ts";
import { createMethods, METHOD_NAMES } from "../../src/peft/methods/table.ts";
import { initialParameters } from "../../src/peft/parameters.ts";
import { virtualExample, virtualLayout } from "../../src/peft/virtual-tokens.ts";
import { openRuntime, type Runtime } from "../../src/runtime/runtime.ts";
import { sizeOf } from "../../src/tensor/tensor.ts";
import { trainConfig } from "../../src/train/config/config.ts";
import { trainingUse } from "../../src/train/plan.ts";
import { createTrainEngine } from "../../src/train/step.ts";
import { gradientGraph, RECOMPUTE_LEVELS, type Recompute } from "../../src/train/step-graphs.ts";
import { taskOf } from "../../src/train/tasks/table.ts";
import { optionsFor } from "../train/options-for.ts";
import { examplesOf, openEncoder, type TinyEncoder } from "./encoders.ts";
import { FAMILY_NAMES, openTiny, subjectOf, type TinyModel } from "./harness.ts";

let runtime: Runtime;
beforeAll(() => {
  runtime = openRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

const EXAMPLES: Example[] = [
  [1, 2, 3, 4, 5, 6],
  [1, 2, 3, 7, 8],
  [9, 10, 11, 12, 13, 14, 15],
].map((ids, index) => ({
  ids: Int32Array.from(ids),
  isLabel: Uint8Array.from(ids, (_, i) => (i > 1 ? 1 : 0)),
  index,
}));
const OPTIONS = {
  optimizer: "adamw",
  momentum: 0,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0,
  clipNorm: 1,
  labelSmoothing: 0,
  seed: 1,
};

/** Starting values; random ones where the method would run the base model for them. */
function startOf(tiny: TinyModel, methods: readonly Method[]): Promise<Float32Array> {
  const drawn = (t: Trainable): Trainable => ({
    ...t,
    init: (g) => Float32Array.from({ length: sizeOf(t.shape) }, () => 0.1 * g.normal()),
  });
  const trainables = methods.flatMap((m) =>
    m.name.startsWith("prefix-") ? m.trainables.map(drawn) : m.trainables,
  );
  return initialParameters(trainables, 0, (path) => tiny.file.read(path));
}

/** As long rows attend: in blocks, here of few tokens. */
const IN_BLOCKS = 4096;

/** Losses and gradient norms of three updates, and the state after them. */
async function trained(tiny: TinyModel, method: string, recompute: Recompute, rowTokens = 256) {
  const all = { data: ["x"], rank: 2, targetModules: "all-linear", dropout: 0.1, prefixLength: 2 } as const;
  const config = trainConfig(optionsFor(method, all));
  const methods = createMethods(config.method, config, tiny.model);
  const model = { ...tiny.model, methods, positionCount: 16, rowTokens };
  const engine = await createTrainEngine(runtime, subjectOf(model), tiny.file.folder, {
    ...OPTIONS,
    recompute,
  });
  const theta = await startOf(tiny, methods);
  const layout = virtualLayout(methods, tiny.config.vocabSize);
  const batch = EXAMPLES.map((e) => virtualExample(e, layout));
  const zeros = () => new Float32Array(theta.length);
  await engine.setState({ theta, m: zeros(), v: zeros() });
  const results: number[][] = [];
  for (let step = 1; step <= 3; step++) {
    if (step === 2) await engine.rest(); // gives its memory back, and goes on as if it had not
    const { loss, gradNorm } = await engine.update([batch], step, 0.05);
    results.push([loss, gradNorm]);
  }
  const state = await engine.state();
  await engine.close();
  return { results, ...state };
}

/** Losses of three updates of an encoder with its head, and the parameters after them. */
async function trainedEncoder(tiny: TinyEncoder, recompute: Recompute) {
  const { base } = tiny;
  const task = taskOf(base);
  const config = trainConfig({ data: ["x"], rank: 2, dropout: 0.1 });
  const methods = createMethods(config.method, config, base, trainingUse(base, task));
  const model = { ...base, methods, positionCount: 40, rowTokens: 256 };
  const own = openRuntime({ threads: 1 });
  const { folder } = base.weights;
  const engine = await createTrainEngine(own, subjectOf(model, 1, task.objective), folder, {
    ...OPTIONS,
    recompute,
  });
  const trainables = methods.flatMap((m) => m.trainables);
  const theta = await initialParameters(trainables, 0, (path) => base.weights.read(path));
  const zeros = () => new Float32Array(theta.length);
  await engine.setState({ theta, m: zeros(), v: zeros() });
  const batch = examplesOf(tiny);
  const losses: number[] = [];
  for (let step = 1; step <= 3; step++) losses.push((await engine.update([batch], step, 0.05)).loss);
  const state = await engine.state();
  await own.close();
  return { losses, ...state };
}

describe.each(FAMILY_NAMES)("%s", (name) => {
  test("losses and parameters are the same bits at every level, with dropout", async () => {
    const tiny = await openTiny(name);
    const kept = await trained(tiny, "lora", "none");
    expect(new Set(kept.results.map(([loss]) => loss)).size).toBe(3);
    for (const level of ["cheap", "layer"] as const)
      expect(await trained(tiny, "lora", level), level).toEqual(kept);
    await tiny.close();
  });
});

test.each(["bert", "roberta"])("%s: the same bits at every level, with dropout", async (name) => {
  const tiny = await openEncoder(name);
  const [kept, ...others] = await Promise.all(RECOMPUTE_LEVELS.map((level) => trainedEncoder(tiny, level)));
  for (const other of others) expect(other).toEqual(kept);
  expect(new Set(kept?.losses).size).toBe(3);
  await tiny.close();
});

test.each([...METHOD_NAMES, "lora+prefix-embedding", "lora+prefix-layer"])(
  "losses and gradients of %s are the same at every level",
  async (method) => {
    const tiny = await openTiny("llama");
    const kept = (await trained(tiny, method, "none")).results.flat();
    for (const level of ["cheap", "layer"] as const) {
      const { results } = await trained(tiny, method, level);
      // Some gradients are sums in another order: rounding, which three updates of 0.05 carry on.
      results.flat().forEach((value, i) => {
        expect(Math.abs(value / (kept[i] as number) - 1), `${level} ${i}`).toBeLessThan(1e-4);
      });
    }
    await tiny.close();
  },
);

test.each(["llama", "mistral", "gemma3"])(
  "%s: attention in blocks is attention, at every level",
  async (name) => {
    const tiny = await openTiny(name);
    for (const method of ["lora", "prefix-tuning"]) {
      const whole = (await trained(tiny, method, "none")).results.flat();
      for (const level of RECOMPUTE_LEVELS) {
        const { results } = await trained(tiny, method, level, IN_BLOCKS);
        // Sums in another order, as above.
        results.flat().forEach((value, i) => {
          expect(Math.abs(value / (whole[i] as number) - 1), `${method} ${level} ${i}`).toBeLessThan(1e-4);
        });
      }
    }
    await tiny.close();
  },
);

test("no block sees more keys than it may, and each is computed again by itself", async () => {
  const tiny = await openTiny("llama-sharded");
  const config = trainConfig({ data: ["x"], rank: 2, targetModules: ["q_proj"] });
  const methods = createMethods(config.method, config, tiny.model);
  const model = { ...tiny.model, methods, rowTokens: IN_BLOCKS };
  const count = (level: Recompute) =>
    serialize(gradientGraph(subjectOf(model), { recompute: level })).opCounts.get("Softmax");
  // What a block gives is not needed by the gradient of a frozen o: inside a layer it is not computed a third time.
  expect(RECOMPUTE_LEVELS.map(count), "3 layers of 4 blocks").toEqual([12, 24, 24]);
  await tiny.close();
});

test("each level computes more again", async () => {
  const tiny = await openTiny("llama-sharded");
  const config = trainConfig({ data: ["x"], rank: 2, targetModules: ["q_proj"] });
  const methods = createMethods(config.method, config, tiny.model);
  const counts = RECOMPUTE_LEVELS.map((level) => {
    const { opCounts } = serialize(
      gradientGraph(subjectOf({ ...tiny.model, methods }), { recompute: level }),
    );
    const products = (opCounts.get("MatMul") ?? 0) + (opCounts.get("com.microsoft::FusedMatMul") ?? 0);
    return {
      products,
      softmax: opCounts.get("Softmax"),
      rotations: opCounts.get("com.microsoft::RotaryEmbedding"),
    };
  });
  const [none, cheap, layer] = counts as [(typeof counts)[0], (typeof counts)[0], (typeof counts)[0]];
  // Three layers. `cheap`: q·kᵀ and softmax once more each; the rest of a segment is not needed by its gradient.
  expect(cheap.softmax).toBe(2 * (none.softmax ?? 0));
  expect(cheap.products).toBe(none.products + 3);
  expect(cheap.rotations).toBe(none.rotations);
  // `layer`: also q, k and v, the two rotations, A·x, gate, and up; not o, nor down.
  expect(layer.rotations).toBe((none.rotations ?? 0) + 3 * 2);
  expect(layer.products).toBeGreaterThan(cheap.products);
  await tiny.close();
});
