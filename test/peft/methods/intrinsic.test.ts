import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { InputError } from "../../../src/errors.ts";
import { reshape } from "../../../src/graph/ops/index.ts";
import { constant, input } from "../../../src/graph/value.ts";
import type { BaseModel } from "../../../src/models/base.ts";
import { createCompute } from "../../../src/peft/compute.ts";
import type { Merging, Method } from "../../../src/peft/method.ts";
import {
  blockCount,
  blockKeys,
  blockSize,
  fastfood,
  walshHadamard,
} from "../../../src/peft/methods/fastfood.ts";
import { createMethods, openMethod } from "../../../src/peft/methods/table.ts";
import { parameterCount, trainedCount, unflatten } from "../../../src/peft/parameters.ts";
import { openRuntime, type Runtime } from "../../../src/runtime/runtime.ts";
import { random } from "../../../src/tensor/random.ts";
import { type FloatTensor, floats, type Tensor } from "../../../src/tensor/tensor.ts";
import { type TrainOptions, trainConfig } from "../../../src/train/config/config.ts";
import { estimateMemoryBytes } from "../../../src/train/estimate.ts";
import { randomExamples } from "../../data/random-examples.ts";
import { expectedOf, openTiny, type TinyModel } from "../../models/harness.ts";
import { difference, gradientByKey, openCase, runPadded, startOf, trainedGradient } from "./relatives.ts";

let runtime: Runtime;
beforeAll(() => {
  runtime = openRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

const numbersOf = (tensor: Tensor | undefined): Float32Array => tensor?.data as Float32Array;

function methodsOn(tiny: TinyModel, method: string, options: TrainOptions = {}): Method[] {
  return createMethods(method, trainConfig({ method, ...options }), tiny.model);
}

// fp32 on both sides (P in fp64 on the other), sums in another order. Seen: logits 3e-6, the rest 1e-6 of the largest.
describe.each([
  ["llama", "llama"],
  ["llama-large", "llama"],
  ["gpt2", "gpt2"],
])("%s, made by NumPy and PyTorch", (name, model) => {
  test("updates, logits, loss and gradient are theirs; the file is written as it was read", async () => {
    const c = await openCase(name, model, "intrinsic");
    const got = await runPadded(runtime, c.tiny, [c.method], c.theta);
    const logits = numbersOf(c.expected.get("logits"));
    expect(difference(numbersOf(got.logits), logits)).toBeLessThan(1e-4);
    expect(Math.abs(got.loss - (numbersOf(c.expected.get("loss"))[0] as number))).toBeLessThan(2e-5);
    expect(difference(logits, numbersOf(expectedOf(c.tiny, "logits")))).toBeGreaterThan(0.1);
    const grads = gradientByKey(c.method, got.gradient);
    for (const key of c.tensors.keys()) {
      const [have, want] = [numbersOf(grads.get(key)), numbersOf(c.expected.get(`grad.${key}`))];
      expect(difference(have, want, key !== "intrinsic.seed"), key).toBeLessThan(1e-4);
    }
    expect(c.method.files.write(c.method.files.read(c.tensors, name))).toEqual(c.tensors);
    const { paths, read } = c.method.merging as Merging;
    const compute = createCompute(runtime);
    const updates = [...c.expected.keys()].filter((k) => k.startsWith("update."));
    expect(updates.map((k) => `${k.slice(7)}.weight`).sort()).toEqual([...paths].sort());
    for (const key of updates) {
      const { shape, data } = c.expected.get(key) as FloatTensor;
      const update = await read(`${key.slice(7)}.weight`, {
        base: async () => floats(new Float32Array(data.length), shape),
        trained: (trained) => c.tensors.get(trained) as FloatTensor,
        compute,
      });
      expect(update.shape).toEqual(shape);
      expect(difference(update.data, data, true), key).toBeLessThan(1e-5);
    }
    await compute.close();
    await c.tiny.close();
  });
});

/** P [count, d], column by column. */
async function projectionOf(stream: string, count: number, d: number, seed: number): Promise<Float32Array[]> {
  const keys = constant(blockKeys(stream, blockCount(count, d)));
  const p = fastfood(input("theta", "float32", [d]), input("seed", "float32", [1]))(keys, count);
  const session = await runtime.load({ p });
  const columns: Float32Array[] = [];
  for (let j = 0; j < d; j++) {
    const theta = floats(
      Float32Array.from({ length: d }, (_, i) => (i === j ? 1 : 0)),
      [d],
    );
    columns.push(
      (await session.run({ theta, seed: floats(Float32Array.of(seed), [1]) })).p?.data as Float32Array,
    );
  }
  await session.close();
  return columns;
}

const dot = (x: Float32Array, y: Float32Array): number => x.reduce((n, v, i) => n + v * (y[i] as number), 0);

describe("P is a random projection", () => {
  const [COUNT, D] = [20_000, 60];

  test("columns of about unit length, each nearly orthogonal to the others; numbers as normal as they should be", async () => {
    const columns = await projectionOf("a", COUNT, D, 5);
    // A column's squared length is a mean over 313 blocks of squares of G: deviation √(2/313)·(share of a block) < 0.08.
    for (const column of columns) expect(Math.abs(dot(column, column) - 1)).toBeLessThan(0.1);
    // Inner products of columns: means of as many terms of variance ≤ 2.
    const products = columns.flatMap((x, i) => columns.slice(0, i).map((y) => dot(x, y)));
    expect(Math.max(...products.map(Math.abs))).toBeLessThan(0.15);
    // P·θ for θ of length one: variance 1/COUNT and fourth moment 3, within five deviations of 20,000 draws.
    const generator = random(3, "theta");
    const theta = Array.from({ length: D }, () => generator.normal() / Math.sqrt(D));
    const length = Math.sqrt(theta.reduce((n, x) => n + x * x, 0));
    const out = Float64Array.from({ length: COUNT }, (_, i) => {
      return theta.reduce((n, x, j) => n + x * (columns[j]?.[i] as number), 0) * (Math.sqrt(COUNT) / length);
    });
    const moment = (k: number): number => out.reduce((n, x) => n + x ** k, 0) / COUNT;
    expect(Math.abs(moment(1))).toBeLessThan(5 / Math.sqrt(COUNT));
    expect(Math.abs(moment(2) - 1)).toBeLessThan(5 * Math.sqrt(2 / COUNT));
    expect(Math.abs(moment(3))).toBeLessThan(5 * Math.sqrt(15 / COUNT));
    expect(Math.abs(moment(4) - 3)).toBeLessThan(5 * Math.sqrt(96 / COUNT));
  });

  test("rows have the length √(d/count) and are as orthogonal as random ones, within a block and across", async () => {
    const columns = await projectionOf("a", COUNT, 64, 5);
    const row = (i: number): Float32Array =>
      Float32Array.from(columns, (c) => (c[i] as number) * Math.sqrt(COUNT / 64));
    const rows = Array.from({ length: 300 }, (_, i) => row(i * 64 + (i % 7)));
    const near = Array.from({ length: 64 }, (_, i) => row(i));
    const cosine = (x: Float32Array, y: Float32Array): number => dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
    const squares = (of: Float32Array[]): number => {
      const all = of.flatMap((x, i) => of.slice(0, i).map((y) => cosine(x, y) ** 2));
      return all.reduce((n, x) => n + x, 0) / all.length;
    };
    const mean = rows.reduce((n, x) => n + dot(x, x), 0) / rows.length;
    expect(Math.abs(mean - 1)).toBeLessThan(5 * Math.sqrt(2 / 64 / 300));
    // Random directions in 64 dimensions: mean squared cosine 1/64; in a block 2/64, as G's fourth moment has it.
    expect(squares(rows) * 64).toBeGreaterThan(0.9);
    expect(squares(rows) * 64).toBeLessThan(1.1);
    expect(squares(near) * 64).toBeLessThan(2.6);
  });

  test("another seed or weight has another one; the same the same", async () => {
    const first = await projectionOf("a", 640, 50, 5);
    expect(await projectionOf("a", 640, 50, 5)).toEqual(first);
    for (const other of [await projectionOf("a", 640, 50, 6), await projectionOf("b", 640, 50, 5)])
      for (const [j, column] of other.entries())
        expect(Math.abs(dot(column, first[j] as Float32Array))).toBeLessThan(0.5); // √(2/10) apart at most
  });

  test("blocks hold d numbers, and the transform is its own inverse but for its size", async () => {
    expect([1, 2, 3, 64, 65, 1000].map(blockSize)).toEqual([1, 2, 4, 64, 128, 1024]);
    expect(blockCount(640, 50)).toBe(10);
    for (const size of [1, 2, 8, 64]) {
      const transform = walshHadamard(size);
      const x = input("x", "float32", [2 * size]);
      const twice = transform(transform(reshape(x, [2, size])));
      const session = await runtime.load({ twice });
      const data = Float32Array.from({ length: 2 * size }, (_, i) => i - size);
      const got = (await session.run({ x: floats(data, [2 * size]) })).twice?.data as Float32Array;
      expect(got).toEqual(data.map((v) => v * size)); // whole numbers: exact
      await session.close();
    }
  });
});

describe("on a tiny model", () => {
  let tiny: TinyModel;
  beforeAll(async () => {
    tiny = await openTiny("llama-sharded");
  });
  afterAll(() => tiny.close());

  /** Bytes of a run on the tiny model, by the plan. */
  const memoryOf = (method: Method): number => {
    const base = { ...tiny.model, bits: 32 } as unknown as BaseModel;
    const work = { batches: 1, trieTokensPerBatch: 8, rowTokens: 8, labelsPerBatch: 4 };
    const use = { recompute: "none", prepack: false, compute: "float32" } as const;
    return estimateMemoryBytes(base, [method], 0, work, use);
  };

  test("starts as the base, bit for bit, with a gradient; d numbers are trained, and the seed kept", async () => {
    const methods = methodsOn(tiny, "intrinsic", { intrinsicDimension: 37 });
    const { trainables } = methods[0] as Method;
    expect([trainedCount(trainables), parameterCount(trainables)]).toEqual([37, 38]);
    // Three layers of q and o 32², k and v 16·32, MLP 3·32·64.
    const [method] = methods as [Method];
    expect(method.stepBytes).toBe(8 * 27_648);
    expect(memoryOf(method) - memoryOf({ ...method, stepBytes: 0 })).toBe(8 * 27_648);
    const start = await startOf(tiny, methods);
    const got = await runPadded(runtime, tiny, methods, start);
    const base = await runPadded(runtime, tiny, [], new Float32Array(0));
    expect(numbersOf(got.logits)).toEqual(numbersOf(base.logits));
    expect(got.gradient.slice(0, 37).every((x) => x !== 0)).toBe(true);
    expect(got.gradient[37]).toBe(0);
    expect((await startOf(tiny, methods, 2))[37]).not.toBe(start[37]);
  });

  // Sums in another order, relative to the largest element. Seen 1e-6.
  test.each(["intrinsic", "lora+intrinsic", "intrinsic+dora", "ia3+intrinsic"])(
    "%s: examples packed into a trie have the loss and gradient of each by itself",
    async (combination) => {
      const methods = methodsOn(tiny, combination, { intrinsicDimension: 40 });
      const generator = random(2, "moved");
      const seedAt = methods
        .flatMap((m) => m.trainables)
        .flatMap((t) => Array(parameterCount([t])).fill(t.fixed));
      const theta = (await startOf(tiny, methods)).map((x, i) =>
        seedAt[i] ? x : x + 0.05 * generator.normal(),
      );
      const examples = randomExamples(6, random(1)).filter((e) => e.isLabel.some((l) => l === 1));
      const packed = await trainedGradient(runtime, tiny, methods, theta, [examples]);
      const apart = await trainedGradient(
        runtime,
        tiny,
        methods,
        theta,
        examples.map((e) => [e]),
      );
      expect(packed.nodes).toBeLessThan(apart.nodes);
      expect(Math.abs(packed.loss - apart.loss)).toBeLessThan(2e-5);
      expect(difference(packed.gradient, apart.gradient, true)).toBeLessThan(1e-4);
    },
  );

  test("what is written is read the same", async () => {
    for (const options of [
      {},
      { layers: [1] },
      { targetModules: ["q_proj", "v_proj"], intrinsicDimension: 9 },
    ]) {
      const [made] = methodsOn(tiny, "intrinsic", options) as [Method];
      const values = unflatten(await startOf(tiny, [made]), made.trainables);
      const config = JSON.parse(JSON.stringify(made.files.config("some/model")));
      expect(config).toMatchObject({ lowrank_method: "intrinsic" });
      const { method: read, warnings } = openMethod(config, tiny.model, "file");
      expect(warnings).toEqual([]);
      expect(read.structure).toBe(made.structure);
      expect(read.files.read(made.files.write(values), "file")).toEqual(values);
      expect(read.files.config("some/model")).toEqual(config);
    }
  });

  const messageOf = (run: () => unknown): string => {
    try {
      run();
    } catch (error) {
      if (error instanceof InputError) return error.message;
    }
    throw new Error("expected an InputError");
  };

  test("what does not fit is refused", () => {
    const make = (options: TrainOptions) => () => methodsOn(tiny, "intrinsic", options);
    const one = { targetModules: ["v_proj"], layers: [0] };
    expect(messageOf(make({ ...one, intrinsicDimension: 513 }))).toBe(
      "intrinsic does not fit this model\n" +
        "  intrinsicDimension: expected at most 512, the number of adapted weights, got 513",
    );
    expect(make({ ...one, intrinsicDimension: 512 })()).toHaveLength(1);
    expect(messageOf(make({ intrinsicDimension: 0 }))).toMatch(
      /intrinsicDimension: expected a whole number ≥ 1/,
    );
    expect(messageOf(make({ targetModules: ["embed_tokens"] }))).toBe(
      "intrinsic does not fit these options\n  model.embed_tokens: is an embedding: only linear layers",
    );
    const use = { taskType: "SEQ_CLS", wholeModules: ["classifier"] };
    expect(messageOf(() => createMethods("intrinsic", trainConfig({}), tiny.model, use))).toMatch(
      /modulesToSave: intrinsic does not have it, and an encoder's head \(classifier\) needs it/,
    );
  });

  test("files that do not hold", () => {
    const config = { lowrank_method: "intrinsic", intrinsic_dimension: 2, target_modules: ["q_proj"] };
    const open = (changes: object) => () => openMethod({ ...config, ...changes }, tiny.model, "file");
    expect(messageOf(open({ intrinsic_dimension: 0 }))).toMatch(/intrinsic_dimension: /);
    expect(messageOf(open({ intrinsic_dimension: undefined }))).toMatch(/intrinsic_dimension: /);
    expect(messageOf(open({ intrinsic_dimension: 1e6 }))).toMatch(/expected at most 3072/);
    expect(open({ other: 1 })().warnings).toEqual(['file: unknown key "other" is ignored']);
    const { method } = open({})();
    const tensors = (seed: number): Map<string, FloatTensor> =>
      new Map([
        ["intrinsic.theta", floats(new Float32Array(2), [2])],
        ["intrinsic.seed", floats(Float32Array.of(seed), [1])],
      ]);
    for (const seed of [-1, 0.5, 2 ** 24, Number.NaN])
      expect(messageOf(() => method.files.read(tensors(seed), "file"))).toBe(
        `file: the adapter does not hold\n  intrinsic.seed: expected a whole number from 0 to 16777215, got ${seed}`,
      );
    expect(messageOf(() => method.files.read(new Map([...tensors(1)].slice(1)), "file"))).toMatch(
      /intrinsic.theta: is not in the adapter/,
    );
  });
});
