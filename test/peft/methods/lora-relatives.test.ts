import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { InputError } from "../../../src/errors.ts";
import { hfModuleName } from "../../../src/formats/names.ts";
import { createMethods, type MethodOptions, methodsWith } from "../../../src/peft/methods/table.ts";
import { flatten, parameterCount, trainedCount, unflatten } from "../../../src/peft/parameters.ts";
import { openRuntime, type Runtime } from "../../../src/runtime/runtime.ts";
import { random } from "../../../src/tensor/random.ts";
import type { FloatTensor, Tensor } from "../../../src/tensor/tensor.ts";
import { trainConfig } from "../../../src/train/config/config.ts";
import { randomExamples } from "../../data/random-examples.ts";
import { expectedOf, openTiny, type TinyModel } from "../../models/harness.ts";
import {
  createOn,
  difference,
  gradientByKey,
  openCase,
  runPadded,
  startOf,
  trainedGradient,
} from "./relatives.ts";

// As in test/models/parity.test.ts: fp32 on both sides, sums in another order; logits have a standard deviation of 1 to 2.
// Seen: logits 7e-6, loss 1e-6, gradients 3e-6.
const LOGITS = 1e-4;
const LOSS = 2e-5;
// Largest difference over the largest value of the same tensor.
const GRADIENT = 1e-4;

let runtime: Runtime;
beforeAll(() => {
  runtime = openRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

const numbersOf = (tensor: Tensor | undefined): Float32Array => tensor?.data as Float32Array;

const CASES = [
  ["dora-biases", "llama-sharded", "dora"],
  ["dora-gpt2", "gpt2", "dora"],
  ["dora-embedding", "llama", "dora"],
  ["lora-bias", "llama-sharded", "lora"],
  ["lora-bias-gpt2", "gpt2", "lora"],
  ["pissa", "llama", "lora"],
  ["pissa-patterns", "gpt2", "lora"],
  ["pissa-rslora", "qwen2", "lora"],
  ["olora", "qwen3", "lora"],
  ["vera", "llama-sharded", "vera"],
  ["vera-gpt2", "gpt2", "vera"],
] as const;

describe.each(CASES)("%s, an adapter of PEFT", (name, model, method) => {
  test("logits, loss and gradients are PEFT's; the file is written as it was read", async () => {
    const c = await openCase(name, model);
    expect(c.method.name).toBe(method);
    const got = await runPadded(runtime, c.tiny, [c.method], c.theta);
    const logits = numbersOf(c.expected.get("logits"));
    expect(difference(numbersOf(got.logits), logits)).toBeLessThan(LOGITS);
    expect(Math.abs(got.loss - (numbersOf(c.expected.get("loss"))[0] as number))).toBeLessThan(LOSS);
    // The adapter does something: else equal logits would say nothing.
    expect(difference(logits, numbersOf(expectedOf(c.tiny, "logits")))).toBeGreaterThan(0.03);
    const written = c.method.files.write(c.method.files.read(c.tensors, name));
    expect([...written.keys()].sort()).toEqual([...c.tensors.keys()].sort());
    for (const [key, tensor] of c.tensors) expect(written.get(key), key).toEqual(tensor);
    const keys = [...c.expected.keys()].filter((k) => k.startsWith("grad.")).map((k) => k.slice(5));
    const fixed = [...c.tensors.keys()].filter((k) => /vera_[AB]$/.test(k));
    expect([...keys, ...fixed].sort()).toEqual([...c.tensors.keys()].sort());
    const isConverted = c.expected.has(`first.${keys[0]}`); // its gradients are of other tensors, see below
    const grads = gradientByKey(c.method, got.gradient);
    for (const key of isConverted ? [] : keys) {
      const want = numbersOf(c.expected.get(`grad.${key}`));
      expect(difference(numbersOf(grads.get(key)), want, true), key).toBeLessThan(GRADIENT);
    }
    await c.tiny.close();
  });
});

/** PEFT's key of `layers.0.attention.q.loraA`. */
function keyOf(tiny: TinyModel, name: string): string {
  const [, path, side] = /^(.*)\.lora([AB])$/.exec(name) as unknown as [string, string, string];
  return `base_model.model.${hfModuleName(tiny.config.family, path)}.lora_${side}.weight`;
}

const RESIDUAL: readonly [string, string, string, Partial<MethodOptions>][] = [
  ["pissa", "llama", "pissa", {}],
  ["pissa-patterns", "gpt2", "pissa", { rankPattern: { c_fc: 5 }, alphaPattern: { c_attn: 4 } }],
  ["pissa-rslora", "qwen2", "pissa", { rsLora: true }],
  ["olora", "qwen3", "olora", {}],
];

describe.each(RESIDUAL)("%s in training", (name, model, kind, options) => {
  test("starts as PEFT does, but for signs", async () => {
    const c = await openCase(name, model);
    const method = createOn(c.tiny, kind, options);
    const values = unflatten(await startOf(c.tiny, [method]), method.trainables);
    for (const [n, tensor] of values) {
      const want = c.expected.get(`first.${keyOf(c.tiny, n.replace(/\.start$/, ""))}`);
      expect(tensor.shape).toEqual(want?.shape);
      // A singular vector or a row of R is determined up to its sign; float32 there, float64 here:
      // seen 4e-5 where singular values lie close together.
      const size = (x: Float32Array): Float32Array => x.map(Math.abs);
      expect(difference(size(tensor.data), size(numbersOf(want)), true), n).toBeLessThan(2e-4);
    }
    await c.tiny.close();
  });

  test("logits, loss and gradients are PEFT's on the residual base; the file is PEFT's converted one", async () => {
    const c = await openCase(name, model);
    const method = createOn(c.tiny, kind, options);
    const values = method.trainables.map(({ name: n }): [string, FloatTensor] => {
      const [from, of] = n.endsWith(".start") ? ["first", n.slice(0, -6)] : ["moved", n];
      return [n, c.expected.get(`${from}.${keyOf(c.tiny, of)}`) as FloatTensor];
    });
    const got = await runPadded(runtime, c.tiny, [method], flatten(new Map(values), method.trainables));
    expect(difference(numbersOf(got.logits), numbersOf(c.expected.get("logits")))).toBeLessThan(LOGITS);
    for (const [n, tensor] of unflatten(got.gradient, method.trainables)) {
      const want = numbersOf(c.expected.get(`grad.${keyOf(c.tiny, n.replace(/\.start$/, ""))}`));
      if (n.endsWith(".start")) expect(tensor.data.every((x) => x === 0)).toBe(true);
      else expect(difference(tensor.data, want, true), n).toBeLessThan(GRADIENT);
    }
    const written = method.files.write(new Map(values));
    expect([...written.keys()].sort()).toEqual([...c.tensors.keys()].sort());
    for (const [key, tensor] of c.tensors) expect(written.get(key), key).toEqual(tensor);
    expect(method.files.read(written, "file")).toEqual(new Map(values));
    await c.tiny.close();
  });
});

// Bit for bit where the first update is zero. DoRA divides a norm by itself, taken in another order; the others subtract
// what they add. Logits up to 8; seen 3e-6.
const STARTS: readonly [string, string, number][] = [
  ["lora", "llama", 0],
  ["rslora", "llama", 0],
  ["lora-plus", "llama", 0],
  ["vera", "llama", 0],
  ["dora", "llama-sharded", 2e-5],
  ["dora", "gpt2", 2e-5],
  ["pissa", "llama", 2e-5],
  ["olora", "gpt2", 2e-5],
];

test.each(STARTS)("%s on %s starts as the base", async (name, model, tolerance) => {
  const tiny = await openTiny(model);
  const method = createOn(tiny, name);
  const got = await runPadded(runtime, tiny, [method], await startOf(tiny, [method]));
  const base = await runPadded(runtime, tiny, [], new Float32Array(0));
  const off = difference(numbersOf(got.logits), numbersOf(base.logits));
  expect(off).toBeLessThanOrEqual(tolerance);
  expect(got.gradient.some((x) => x !== 0)).toBe(true);
  await tiny.close();
});

test("trained parameters are the papers' formulas", async () => {
  const tiny = await openTiny("llama");
  const count = (name: string): number => trainedCount(createOn(tiny, name).trainables);
  // Two layers of q 32→32, k and v 32→16, o 32→32, gate and up 32→64, down 64→32, at rank 3.
  const inputs = 2 * (32 * 6 + 64);
  const outputs = 2 * (32 + 16 + 16 + 32 + 64 + 64 + 32);
  const lora = 3 * (inputs + outputs);
  for (const name of ["lora", "rslora", "lora-plus", "pissa", "olora"]) expect(count(name), name).toBe(lora);
  expect(count("dora")).toBe(lora + outputs); // a magnitude for each output
  expect(count("vera")).toBe(14 * 3 + outputs); // d of the rank, b of the outputs
  // Kept with them: the starting factors; A [3, 64] and B [64, 3].
  expect(parameterCount(createOn(tiny, "pissa").trainables)).toBe(2 * lora);
  expect(parameterCount(createOn(tiny, "vera").trainables)).toBe(count("vera") + 2 * 3 * 64);
  await tiny.close();
});

test("LoRA+ is LoRA with a larger learning rate for B, and rsLoRA with another scaling", async () => {
  const tiny = await openTiny("llama");
  const [plus] = createMethods("lora-plus", { ...trainConfig({}), loraPlusRatio: 8 }, tiny.model);
  expect(plus?.trainables.map((t) => t.rateFactor ?? 1)).toEqual(
    plus?.trainables.map((t) => (t.name.endsWith("loraB") ? 8 : 1)),
  );
  expect(plus?.files.config(null)).toEqual(
    createMethods("lora", trainConfig({}), tiny.model)[0]?.files.config(null),
  );
  const biased = createOn(tiny, "lora-plus", { loraBias: true, targetModules: ["q_proj"] });
  const faster = biased.trainables
    .filter((t) => t.rateFactor !== undefined)
    .map((t) => t.name.split(".").at(-1));
  expect([...new Set(faster)].sort()).toEqual(["loraB", "loraBias"]);
  expect(biased.notices[0]).toMatch(
    /^the adapter cannot be merged into this model: it has lora_bias, and 2 of its modules/,
  );
  expect(createOn(tiny, "rslora").files.config(null)).toMatchObject({ peft_type: "LORA", use_rslora: true });
  expect(createOn(tiny, "dora").files.config(null)).toMatchObject({ peft_type: "LORA", use_dora: true });
  await tiny.close();
});

/** Values moved away from their start. */
function moved(theta: Float32Array): Float32Array {
  const generator = random(2, "moved");
  return theta.map((x) => x + 0.1 * generator.normal());
}

// fp32 sums in another order; seen 7e-7 of the largest element.
test.each(["dora", "rslora", "lora-plus", "pissa", "olora", "vera", "lora+vera", "dora+vera", "pissa+vera"])(
  "%s: examples packed into a trie have the loss and gradient of each by itself",
  async (combination) => {
    const tiny = await openTiny("llama-sharded");
    const methods = combination.split("+").map((name) => createOn(tiny, name));
    const theta = moved(await startOf(tiny, methods));
    for (const seed of [1, 2]) {
      const examples = randomExamples(6, random(seed));
      const alone = examples.filter((e) => e.isLabel.some((l) => l === 1));
      const packed = await trainedGradient(runtime, tiny, methods, theta, [alone]);
      const apart = await trainedGradient(
        runtime,
        tiny,
        methods,
        theta,
        alone.map((e) => [e]),
      );
      expect(packed.nodes).toBeLessThan(apart.nodes);
      expect(Math.abs(packed.loss - apart.loss)).toBeLessThan(LOSS);
      expect(difference(packed.gradient, apart.gradient, true)).toBeLessThan(GRADIENT);
    }
    await tiny.close();
  },
);

describe("what does not fit is refused", () => {
  let tiny: TinyModel;
  beforeAll(async () => {
    tiny = await openTiny("llama");
  });
  afterAll(() => tiny.close());
  const problemsOf = (run: () => unknown): string => {
    try {
      run();
    } catch (error) {
      if (error instanceof InputError) return error.message;
    }
    throw new Error("expected an InputError");
  };

  test("methods that train the same factors", () => {
    const options = trainConfig({});
    expect(problemsOf(() => createMethods("lora+dora", options, tiny.model))).toBe(
      "the methods cannot be combined\n  lora+dora: both train layers.0.attention.q.loraA",
    );
  });

  test("embeddings and ranks that a weight does not have, all at once", () => {
    const targetModules = ["embed_tokens", "k_proj"];
    const message = problemsOf(() => createOn(tiny, "pissa", { targetModules, rank: 17 }));
    expect(message).toBe(
      [
        "pissa does not fit this model",
        "  model.embed_tokens: is an embedding: only linear layers",
        "  model.layers.0.self_attn.k_proj: expected a rank of at most 16, got 17",
        "  model.layers.1.self_attn.k_proj: expected a rank of at most 16, got 17",
      ].join("\n"),
    );
  });

  test("what VeRA does not have: options that have no effect, and a head that must be trained whole", () => {
    const options = {
      method: "vera",
      bias: "all",
      modulesToSave: ["norm"],
      rankPattern: { q_proj: 2 },
    } as const;
    const owners = (): string => methodsWith("bias").join(", ");
    expect(problemsOf(() => trainConfig(options))).toBe(
      [
        "the training options do not hold:",
        ...["bias", "rankPattern", "modulesToSave"].map(
          (key) => `  ${key}: has no effect with vera: it is an option of ${owners()}`,
        ),
      ].join("\n"),
    );
    expect(trainConfig({ method: "lora+ia3", bias: "all", feedforwardModules: ["down_proj"] }).bias).toBe(
      "all",
    );
    const use = { taskType: "SEQ_CLS", wholeModules: ["classifier"] };
    expect(problemsOf(() => createMethods("vera", trainConfig({}), tiny.model, use))).toBe(
      [
        "vera does not fit these options",
        "  modulesToSave: vera does not have it, and an encoder's head (classifier) needs it",
      ].join("\n"),
    );
  });
});
