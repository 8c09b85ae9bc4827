import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Example } from "../../../src/data/batch.ts";
import { packTrie } from "../../../src/data/trie.ts";
import { InputError, UnsupportedError } from "../../../src/errors.ts";
import { readAdapterWeights } from "../../../src/formats/peft/folder.ts";
import { createDecoder } from "../../../src/generate/decoder.ts";
import type { BaseModel } from "../../../src/models/base.ts";
import { openBase } from "../../../src/models/base-model.ts";
import { baseActivations } from "../../../src/peft/base-activations.ts";
import { openAdapter, writeMethods } from "../../../src/peft/files/adapter.ts";
import type { Method } from "../../../src/peft/method.ts";
import type { PrefixTuningOptions, VirtualTokenOptions } from "../../../src/peft/methods/prefix-options.ts";
import { projectPrefix } from "../../../src/peft/methods/prefix-projection.ts";
import { prefixTuning } from "../../../src/peft/methods/prefix-tuning.ts";
import { createMethods, type MethodOptions } from "../../../src/peft/methods/table.ts";
import { flatten, initialParameters, trainedCount, unflatten } from "../../../src/peft/parameters.ts";
import type { AdaptedModel } from "../../../src/peft/use/adapted-model.ts";
import { virtualExample, virtualLayout, virtualPrompt } from "../../../src/peft/virtual-tokens.ts";
import { openRuntime, type Runtime } from "../../../src/runtime/runtime.ts";
import { random } from "../../../src/tensor/random.ts";
import { type FloatTensor, floats, type Tensor } from "../../../src/tensor/tensor.ts";
import { trainConfig } from "../../../src/train/config/config.ts";
import { randomExamples } from "../../data/random-examples.ts";
import { createLoader, type Loader, modelPath } from "../../generate/loading.ts";
import { readTensors } from "../../models/harness.ts";
import { fixturePath } from "../adapters.ts";
import {
  largestDifference,
  loadGradient,
  lossAndGradient,
  relativeDifference,
  sequenceLogits,
  shifted,
} from "./harness.ts";

// fp32 on both sides, sums in another order; logits have a standard deviation of 1 to 2. Seen: 1.2e-5.
const LOGITS = 1e-4;
// nats per label, of losses of 5 to 7.
const LOSS = 2e-5;
// Largest difference over the largest value of the same tensor.
const GRADIENT = 1e-4;

let runtime: Runtime;
let loader: Loader;
beforeAll(async () => {
  runtime = openRuntime({ threads: 1 });
  loader = await createLoader();
});
afterAll(async () => {
  await runtime.close();
  await loader.closeAll();
  await loader.remove();
});

function open(name: string): Promise<BaseModel> {
  return openBase(modelPath(name), { offline: true, cacheFolder: loader.folder });
}

const fixture = (name: string): string => fixturePath(`methods/prefix/${name}`);

function adapted(base: BaseModel, methods: readonly Method[]): AdaptedModel {
  const { config, family, modules, frozen } = base;
  return { config, family, modules, frozen, methods, positionCount: 40, rowTokens: 256 };
}

type PrefixChoice = Partial<VirtualTokenOptions & PrefixTuningOptions>;

function optionsOf(prefix: PrefixChoice): MethodOptions {
  return { ...trainConfig({ rank: 2, alpha: 4 }), prefixLength: 3, ...prefix };
}

/** θ as training would start. */
function startOf(base: BaseModel, methods: readonly Method[], seed = 1): Promise<Float32Array> {
  const trainables = methods.flatMap((m) => m.trainables);
  const read = (path: string): Promise<FloatTensor> => base.weights.read(path);
  return initialParameters(trainables, seed, read, baseActivations(runtime, base));
}

/** θ with everything away from its start, so that nothing is zero. */
async function movedTheta(base: BaseModel, methods: readonly Method[]): Promise<Float32Array> {
  const start = await startOf(base, methods);
  const generator = random(1, "moved");
  return start.map((x) => x + 0.2 * generator.normal());
}

/** The two sequences of a model's fixture as examples, padding left out. */
async function fixtureRows(name: string): Promise<{ rows: number[][]; examples: Example[] }> {
  const tensors = await readTensors(join(modelPath(name), "expected.safetensors"));
  const [ids, labels, mask] = ["input_ids", "labels", "attention_mask"].map(
    (n) => tensors.get(n)?.data as Int32Array,
  ) as [Int32Array, Int32Array, Int32Array];
  const cut = (x: Int32Array, row: number, length = 12): Int32Array => x.slice(row * 12, row * 12 + length);
  const examples = [0, 1].map((row) => {
    const length = cut(mask, row).reduce((a, b) => a + b, 0);
    const isLabel = Uint8Array.from(cut(labels, row, length), (l) => (l === -100 ? 0 : 1));
    return { ids: cut(ids, row, length), isLabel, index: row };
  });
  return { rows: [0, 1].map((row) => Array.from(cut(ids, row))), examples };
}

async function configOf(folder: string): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(join(folder, "adapter_config.json"), "utf8"));
}

/** Position of the first label of the fixtures' rows: the infix stands before it. */
const FIRST_LABEL = 3;

const CASES = ["llama", "llama3", "gpt2"].flatMap((model) =>
  ["prompt", "prefix", "infix", "layer"].map((method) => [model, method] as const),
);

describe.each(CASES)("%s %s against PEFT or PyTorch", (name, method) => {
  const folder = fixture(`${name}-${method}`);
  let base: BaseModel;
  let expected: Map<string, Tensor>;
  let model: AdaptedModel;
  let theta: Float32Array;
  beforeAll(async () => {
    base = await open(name);
    expected = await readTensors(join(folder, "expected.safetensors"));
    const adapter = await openAdapter(folder, base, { offline: true });
    expect(adapter.warnings).toEqual([expect.stringMatching(/is for tiny-.*cannot be told$/)]);
    model = adapted(base, adapter.methods);
    theta = adapter.theta;
    await runtime.put({ theta: floats(theta, [theta.length]) });
  });

  test.each([1, 2])("loss and gradient of the packed trie in rows: %i", async (rows) => {
    const layout = virtualLayout(model.methods, base.config.vocabSize);
    const { examples } = await fixtureRows(name);
    const batch = packTrie(
      examples.map((e) => virtualExample(e, layout)),
      { rows, bucket: 4, edgeBucket: 4, stem: true },
    );
    expect(batch.stem > 0).toBe(rows > 1);
    const { loss, gradient } = await lossAndGradient(runtime, model, base.weights.folder, theta, batch);
    expect(Math.abs(loss - (expected.get("loss")?.data[0] as number))).toBeLessThan(LOSS);
    const [only] = model.methods as [Method];
    const values = unflatten(gradient, only.trainables);
    for (const [key, got] of only.files.write(values)) {
      const want = expected.get(`grad.${key}`) as FloatTensor;
      expect(got.shape).toEqual(want.shape);
      expect(relativeDifference(got.data, want.data), key).toBeLessThan(GRADIENT);
    }
  });

  test("logits, decoded with a cache", async () => {
    const layout = virtualLayout(model.methods, base.config.vocabSize);
    const decoder = await createDecoder(runtime, model, base.weights.folder);
    const want = expected.get("logits") as FloatTensor;
    const { rows } = await fixtureRows(name);
    for (const [r, ids] of rows.entries()) {
      const { prefix, infix } = layout;
      const sequence = [...prefix, ...ids.slice(0, FIRST_LABEL), ...infix, ...ids.slice(FIRST_LABEL)];
      const logits = await decoder.score(sequence);
      const real = logits.filter((_, i) => (sequence[i] as number) < base.config.vocabSize);
      const got = Float32Array.from(real.flatMap((l) => Array.from(l)));
      const size = want.data.length / 2;
      expect(largestDifference(got, want.data.slice(r * size, (r + 1) * size))).toBeLessThan(LOGITS);
    }
    await decoder.close();
  });

  test("written again, the files are the same", async () => {
    const { methods } = model;
    const written = join(loader.folder, `${name}-${method}`);
    await writeMethods(written, methods, theta, `tiny-${name}`);
    const { peft_version: _version, ...config } = await configOf(folder);
    expect(await configOf(written)).toEqual(config);
    expect((await readAdapterWeights(written)).tensors).toEqual((await readAdapterWeights(folder)).tensors);
  });
});

describe("prefix tuning with a perceptron", () => {
  test("loss, gradients and the prefix it saves are PEFT's", async () => {
    const base = await open("llama");
    const folder = fixture("llama-projected");
    const expected = await readTensors(join(folder, "expected.safetensors"));
    const method = prefixTuning({ count: 3, projection: 6, text: null }, base);
    const value = (key: string): FloatTensor => expected.get(key.replace(/^prefix/, "value")) as FloatTensor;
    const values = new Map(method.trainables.map((t) => [t.name, value(t.name)]));
    const theta = flatten(values, method.trainables);
    expect(trainedCount(method.trainables), "as PEFT counts them").toBe(598);
    const { examples } = await fixtureRows("llama");
    const batch = packTrie(examples, { rows: 1, bucket: 8, edgeBucket: 4 });
    const model = adapted(base, [method]);
    const { loss, gradient } = await lossAndGradient(runtime, model, base.weights.folder, theta, batch);
    expect(Math.abs(loss - (expected.get("loss")?.data[0] as number))).toBeLessThan(LOSS);
    for (const [key, got] of unflatten(gradient, method.trainables)) {
      const want = expected.get(key.replace(/^prefix/, "grad")) as FloatTensor;
      expect(relativeDifference(got.data, want.data), key).toBeLessThan(GRADIENT);
    }
    const saved = (await readAdapterWeights(folder)).tensors.get("prompt_embeddings") as FloatTensor;
    expect(largestDifference(projectPrefix(values).data, saved.data)).toBeLessThan(1e-6);
    const { peft_version: _version, ...config } = await configOf(folder);
    expect(method.files.config("tiny-llama")).toEqual(config);
    const { methods } = await openAdapter(folder, base, { offline: true });
    expect(methods[0]?.trainables.map((t) => t.shape)).toEqual([[3, 64]]);
    expect(() => method.files.read(new Map(), "here")).toThrow(UnsupportedError);
  });
});

const COMBINATIONS: readonly (readonly [string, PrefixChoice])[] = [
  ["prefix-embedding", { prefixLength: 3 }],
  ["prefix-embedding", { prefixLength: 2, infixLength: 2 }],
  ["prefix-embedding", { prefixLength: 0, infixLength: 2 }],
  ["prefix-layer", { prefixLength: 2, infixLength: 1 }],
  ["prefix-tuning", { prefixLength: 2 }],
  ["prefix-tuning", { prefixLength: 2, prefixProjection: 5 }],
  ["lora+prefix-embedding", { infixLength: 1 }],
  ["prefix-embedding+lora", { infixLength: 1 }],
  ["lora+prefix-layer", { infixLength: 1 }],
  ["lora+prefix-tuning", {}],
  ["prefix-tuning+prefix-embedding", { infixLength: 1 }],
];

describe.each(["llama", "gpt2"])("%s", (name) => {
  let base: BaseModel;
  beforeAll(async () => {
    base = await open(name);
  });

  // Relative to the loss and to the largest gradient element: rounding of sums in another order.
  test.each(
    COMBINATIONS.flatMap(([combination, prefix]) =>
      [1, 3].map((rows) => [combination, prefix, rows] as const),
    ),
  )("%s %o: the trie is exact on random examples, rows: %i", async (combination, prefix, rows) => {
    const methods = createMethods(combination, optionsOf(prefix), base);
    const model = adapted(base, methods);
    const theta = await movedTheta(base, methods);
    const layout = virtualLayout(methods, base.config.vocabSize);
    const rng = random(7, combination);
    const runner = await loadGradient(runtime, model, base.weights.folder);
    for (let round = 0; round < 3; round++) {
      const examples = shifted(randomExamples(6, rng), 20).map((e) => virtualExample(e, layout));
      const sizes = { bucket: 8, edgeBucket: 8 };
      const packed = packTrie(examples, { ...sizes, rows, stem: true });
      const alone = examples.map((e) => packTrie([e], { ...sizes, rows: 1 }));
      const got = await runner.run(theta, packed);
      const want = { loss: 0, gradient: new Float32Array(theta.length) };
      for (const batch of alone) {
        if (batch.labelCount === 0) continue;
        const share = batch.labelCount / packed.labelCount;
        const one = await runner.run(theta, batch);
        want.loss += share * one.loss;
        one.gradient.forEach((g, i) => {
          want.gradient[i] = (want.gradient[i] as number) + share * g;
        });
      }
      expect(Math.abs(got.loss / want.loss - 1)).toBeLessThan(1e-6);
      expect(relativeDifference(got.gradient, want.gradient)).toBeLessThan(1e-5);
    }
    await runner.close();
  });

  test.each(COMBINATIONS)(
    "%s %o: rows of several lengths decode as they do alone",
    async (combination, prefix) => {
      const methods = createMethods(combination, optionsOf(prefix), base);
      const model = adapted(base, methods);
      const theta = await movedTheta(base, methods);
      await runtime.put({ theta: floats(theta, [theta.length]) });
      const layout = virtualLayout(methods, base.config.vocabSize);
      const ids = [31, 7, 90, 44, 5, 18, 100, 60, 22, 71, 12];
      const prompts = [9, 4, 7].map((n) => virtualPrompt(ids.slice(0, n), layout));
      const next = [
        [3, 50],
        [9, 8],
        [77, 21],
      ] as const;
      const decoder = await createDecoder(runtime, model, base.weights.folder);
      const steps = [await decoder.start(prompts)];
      for (const i of [0, 1]) steps.push(await decoder.next(next.map((tokens) => tokens[i] as number)));
      for (const [r, prompt] of prompts.entries()) {
        const whole = [...prompt, ...(next[r] as readonly number[])];
        const want = await sequenceLogits(runtime, model, base.weights.folder, whole);
        steps.forEach((step, i) => {
          const alone = want[prompt.length - 1 + i] as Float32Array;
          expect(largestDifference(step[r] as Float32Array, alone)).toBeLessThan(2e-5);
        });
      }
      await decoder.close();
    },
  );
});

describe("what is trained", () => {
  test.each([
    ["prefix-embedding", { prefixLength: 5, infixLength: 2 }, 32 * 7],
    ["prefix-layer", { prefixLength: 5, infixLength: 2 }, 2 * 32 * 7],
    ["prefix-tuning", { prefixLength: 5 }, 2 * 2 * 16 * 5],
  ] as const)("%s: |Θ| by the paper's formula", async (combination, prefix, count) => {
    const base = await open("llama"); // d 32, L 2, 2 key-value heads of 8
    const [method] = createMethods(combination, optionsOf(prefix), base) as [Method];
    expect(trainedCount(method.trainables)).toBe(count);
  });

  test("random virtual tokens are as wide as the model's", async () => {
    const base = await open("llama");
    const [method] = createMethods("prefix-embedding", optionsOf({ prefixLength: 400 }), base) as [Method];
    const { data } = await base.weights.read("embed.weight");
    const rms = (x: Float32Array): number => Math.sqrt(x.reduce((s, v) => s + v * v, 0) / x.length);
    const theta = await startOf(base, [method]);
    expect(Math.abs(rms(theta) / rms(data) - 1)).toBeLessThan(0.03);
    expect(await startOf(base, [method])).toEqual(theta);
    expect(await startOf(base, [method], 2)).not.toEqual(theta);
  });

  // Rounding of the same sums: the base computes the first tokens once here and once there.
  test.each(["llama", "llama3", "gpt2"])("%s: each starts as the base with a text in front", async (name) => {
    const base = await open(name);
    const text = "list the files";
    const { bosId, addBos } = base.tokenizer;
    const front = [...(addBos ? [bosId as number] : []), ...base.tokenizer.encode(text)];
    const options = optionsOf({ prefixLength: front.length, prefixText: text });
    const ids = [31, 7, 90, 44, 5, 18];
    const { folder } = base.weights;
    const want = (await sequenceLogits(runtime, adapted(base, []), folder, [...front, ...ids])).slice(
      front.length,
    );
    for (const method of ["prefix-embedding", "prefix-layer", "prefix-tuning"]) {
      const methods = createMethods(method, options, base);
      const theta = await startOf(base, methods);
      await runtime.put({ theta: floats(theta, [theta.length]) });
      const layout = virtualLayout(methods, base.config.vocabSize);
      const sequence = [...layout.prefix, ...ids];
      const got = await sequenceLogits(runtime, adapted(base, methods), folder, sequence);
      got.slice(layout.prefix.length).forEach((row, i) => {
        expect(largestDifference(row, want[i] as Float32Array), method).toBeLessThan(2e-5);
      });
    }
  });

  test("a text's embeddings, cut or repeated, as PEFT starts from them", async () => {
    const base = await open("llama3"); // whose tokenizer adds a BOS
    const want = (await readTensors(fixture("text.safetensors"))).get("prompt_embeddings") as FloatTensor;
    const read = (path: string): Promise<FloatTensor> => base.weights.read(path);
    for (const count of [14, 2]) {
      const options = optionsOf({ prefixLength: count, prefixText: "list the files" });
      const [method] = createMethods("prefix-embedding", options, base) as [Method];
      expect(await initialParameters(method.trainables, 0, read)).toEqual(want.data.slice(0, count * 32));
      const config = method.files.config("some/model");
      expect(config).toMatchObject({ prompt_tuning_init: "TEXT", tokenizer_name_or_path: "some/model" });
      expect(method.files.config(null)).toMatchObject({ prompt_tuning_init: "RANDOM" });
    }
    const empty = optionsOf({ prefixText: "" });
    expect(() => createMethods("prefix-embedding", empty, base)).toThrow(/prefixText: has no tokens/);
  });

  test("nothing is an error", async () => {
    const base = await open("llama");
    const none = optionsOf({ prefixLength: 0 });
    for (const name of ["prefix-embedding", "prefix-layer", "prefix-tuning"])
      expect(() => createMethods(name, none, base), name).toThrow(InputError);
  });
});

describe("files that do not fit", () => {
  test("another model's sizes, all named", async () => {
    const base = await open("llama3");
    await expect(openAdapter(fixture("llama-prefix"), base, { offline: true })).rejects.toThrow(
      /adapter_config.json: .*does not fit the model\n {2}token_dim: expected 32 for this model, got 16$/,
    );
    await expect(openAdapter(fixture("gpt2-prefix"), base, { offline: true })).rejects.toThrow(
      /num_attention_heads: expected 2 for this model, got 4/,
    );
  });

  test("tensors that are missing or too many", async () => {
    const base = await open("llama");
    const [method] = createMethods("prefix-layer", optionsOf({}), base) as [Method];
    const tensors = new Map([
      ["prompt_embeddings.0", floats(new Float32Array(32), [1, 32])],
      ["other", floats(new Float32Array(1), [1])],
    ]);
    expect(() => method.files.read(tensors, "file")).toThrow(
      [
        "file: the adapter does not fit the model",
        "  prompt_embeddings.0: expected shape [3,32] for this model, got [1,32]",
        "  prompt_embeddings.1: is not in the adapter",
        "  other: has no place in this model",
      ].join("\n"),
    );
  });
});
