import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { knownType, type OnnxVariant } from "../../../src/formats/transformers-js/layout.ts";
import { loadClassifier } from "../../../src/generate/classifier.ts";
import { type Value, weight } from "../../../src/graph/value.ts";
import { openBase } from "../../../src/models/base-model.ts";
import { planDataFiles } from "../../../src/models/onnx/data-files.ts";
import { outputsOf } from "../../../src/peft/merge/check.ts";
import { type ExportOptions, exportModel, mergeAdapter } from "../../../src/peft/merge/merge.ts";
import { openRuntime, type Runtime } from "../../../src/runtime/runtime.ts";
import { sequenceEncoder } from "../../../src/text/sequence.ts";
import { errorOf } from "../../error-of.ts";
import { adapterPath, createLoader, type Loader, modelPath } from "../../generate/loading.ts";
import { encoderFolder } from "../../models/encoders.ts";
import { expectedOf, FAMILY_NAMES, openTiny } from "../../models/harness.ts";
import { makeAdapter } from "../adapters.ts";
import { continueWith, logitsWith, openPipeline } from "./transformers-js.ts";

// The same sums in another order. Seen: 5e-6 on logits up to 8.
const LOGITS = 1e-4;

let loader: Loader;
let runtime: Runtime;
let output: string;
beforeAll(async () => {
  loader = await createLoader();
  runtime = openRuntime({ threads: 1 });
});
afterAll(async () => {
  await runtime.close();
  await loader.remove();
});
beforeEach(async () => {
  output = join(await mkdtemp(join(tmpdir(), "lowrank-onnx-")), "model");
});
afterEach(async () => {
  await loader.closeAll();
  await rm(join(output, ".."), { recursive: true });
});

const access = () => ({ cacheFolder: loader.folder, offline: true });

function write(name: string, options: Partial<ExportOptions> = {}) {
  const model = modelPath(name);
  return exportModel({ model, output, format: "onnx", variants: ["fp32"], ...access(), ...options });
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((most, x, i) => Math.max(most, Math.abs(x - (b[i] as number))), 0);
}

describe.each(FAMILY_NAMES.filter((name) => name !== "llama-sharded"))("%s in transformers.js", (name) => {
  test.each(["greedy", "adapter.greedy"])(
    "%s: transformers' own tokens, side by side; our logits",
    async (key) => {
      const tiny = await openTiny(name);
      const ids = Array.from((expectedOf(tiny, key).data as Int32Array).slice(0, 16));
      await tiny.close();
      const adapter = key === "greedy" ? {} : { adapter: adapterPath(name), anyBase: true };
      await write(name, adapter);
      const generator = await openPipeline("text-generation", output);
      const { model } = generator;
      // The shorter prompts are padded on the left.
      const lengths = [9, 4, 7];
      const prompts = lengths.map((n) => ids.slice(0, n));
      expect(await continueWith(model, prompts, 7)).toEqual(lengths.map((n) => ids.slice(n, n + 7)));
      const ours = await loader.load(name, adapter);
      const logits = (await ours.logits(ids)).flatMap((row) => Array.from(row));
      expect(largestDifference(await logitsWith(model, ids), Float32Array.from(logits))).toBeLessThan(LOGITS);
      await generator.dispose();
    },
  );
});

test("a chat is answered as we answer it, by the pipeline alone", async () => {
  await write("qwen3");
  const generator = await openPipeline("text-generation", output);
  const messages = [{ role: "user" as const, content: "Hello there" }];
  const [answer] = (await generator(messages, { max_new_tokens: 12, do_sample: false })) as unknown as [
    { generated_text: { content: string }[] },
  ];
  const ours = await loader.load("qwen3");
  const { text } = await ours.generateText({ messages, maxTokens: 12, temperature: 0 });
  expect(answer.generated_text.at(-1)?.content).toBe(text);
  await generator.dispose();
});

test.each<[OnnxVariant, 32 | 8 | 4, number]>([
  // Halves have 11 bits: of logits up to 7 the error of a few sums.
  ["fp16", 32, 0.06],
  ["q8", 8, LOGITS],
  ["q4", 4, LOGITS],
  // Scales and activations are halves.
  ["q4f16", 4, 0.06],
])("%s computes with a base in %i bits", async (variant, baseBits, tolerance) => {
  const { variants } = await write("llama", { variants: [variant] });
  expect(variants.map((v) => v.variant)).toEqual([variant]);
  const generator = await openPipeline("text-generation", output, variant);
  const base = await openBase(modelPath("llama"), { ...access(), baseBits });
  const ids = Int32Array.from({ length: 24 }, (_, i) => (i * 37) % 128);
  const expected = await outputsOf(base, null, ids, runtime);
  const difference = largestDifference(await logitsWith(generator.model, Array.from(ids)), expected);
  expect(difference).toBeLessThan(tolerance);
  if (tolerance > LOGITS) expect(difference, "halves were used").toBeGreaterThan(LOGITS);
  await generator.dispose();
});

describe.each(["bert", "roberta"])("%s in transformers.js", (name) => {
  const texts = ["The movie was a delight.", "No."];

  test("text-classification: our classes and their probabilities, of texts of other lengths side by side", async () => {
    const [model, adapter] = [encoderFolder(name), join(encoderFolder(name), "adapter")];
    const options = { model, adapter, anyBase: true, ...access() };
    await exportModel({ ...options, output, format: "onnx", variants: ["fp32"] });
    const theirs = await openPipeline("text-classification", output);
    const ours = await loadClassifier({ ...options, threads: 1 });
    const expected = await ours.classify(texts);
    const got = (await theirs(texts)) as { label: string; score: number }[];
    expect(got.map(({ label }) => label)).toEqual(expected.map(({ label }) => label));
    for (const [i, { score }] of got.entries()) expect(score).toBeCloseTo(expected[i]?.score as number, 5);
    await ours.close();
    await theirs.dispose();
  });

  test("feature-extraction of an encoder without a head: our hidden states", async () => {
    const model = encoderFolder(`${name}-masked`);
    await exportModel({ model, output, format: "onnx", variants: ["fp32"], ...access() });
    const theirs = await openPipeline("feature-extraction", output);
    const base = await openBase(model, access());
    const encode = sequenceEncoder(base.tokenizer, base.source.tokenizer.tokenizerJson);
    for (const [i, text] of texts.entries()) {
      const ids = Int32Array.from(encode(text, null, 64).ids);
      const expected = await outputsOf(base, null, ids, runtime, "hidden");
      const all = (await theirs(texts)).data as Float32Array;
      const rows = all.length / texts.length;
      expect(largestDifference(all.slice(i * rows, i * rows + expected.length), expected)).toBeLessThan(
        LOGITS,
      );
    }
    await theirs.dispose();
  });
});

describe("the folder", () => {
  test("says how its weights lie, which precision is opened, where texts are cut; no other is left", async () => {
    const { warnings } = await write("llama", { variants: ["q4", "fp16"], contextLength: 100 });
    expect(warnings).toEqual(["the graphs have 100 of the model's 256 positions"]);
    expect((await readdir(join(output, "onnx"))).sort()).toEqual([
      ...["model_fp16.onnx", "model_fp16.onnx_data", "model_q4.onnx", "model_q4.onnx_data"],
    ]);
    const json = async (name: string) => JSON.parse(await readFile(join(output, name), "utf8"));
    const config = await json("config.json");
    expect(config.max_position_embeddings).toBe(100);
    expect(config["transformers.js_config"]).toEqual({
      use_external_data_format: { "model_q4.onnx": 1, "model_fp16.onnx": 1 },
      dtype: "q4",
    });
    const tokenizer = await json("tokenizer_config.json");
    expect(tokenizer.model_max_length).toBe(100);
    expect(tokenizer.chat_template).toContain("messages");
    const generator = await openPipeline("text-generation", output); // q4, as it says
    await generator.dispose();
  });

  test("weights beyond a file's size go on in the next one", () => {
    const of = (name: string, sizeBytes: number, offsetBytes: number) =>
      weight(name, [sizeBytes / 4], { fileName: "weights.bin", offsetBytes, sizeBytes });
    const all = [of("a", 6000, 0), of("b", 400, 8192), of("c", 8000, 12288), of("a again", 6000, 0)];
    const { files, locate, sizeBytes } = planDataFiles(all, "model.onnx", 10_000);
    expect(files.map(({ name, pieces }) => [name, pieces.length])).toEqual([
      ["model.onnx_data", 2],
      ["model.onnx_data_1", 1],
    ]);
    expect(all.map((w) => locate(w).offsetBytes)).toEqual([0, 8192, 0, 0]);
    expect(locate(all[3] as Value)).toEqual(locate(all[0] as Value));
    expect(sizeBytes).toBe(14_400);
  });
});

describe("refused, and nothing is left", () => {
  test("a type that transformers.js does not know", () => {
    expect(() => knownType("seed_oss")).toThrow(
      /"seed_oss" cannot be written for transformers.js; known: llama, mistral/,
    );
  });

  test("options without effect, unknown precisions, more positions than there are", async () => {
    const cases: [Partial<ExportOptions>, RegExp][] = [
      [{ dtype: "float16" }, /dtype has no effect on the format "onnx"/],
      [{ format: "folder" }, /variants has no effect on the format "folder"/],
      [{ variants: ["q3"] as never }, /variants: unknown "q3"; known: fp32/],
      [{ variants: [] }, /variants: expected at least one/],
      [{ contextLength: 257 }, /contextLength: expected a whole number from 1 to 256, got 257/],
    ];
    for (const [options, message] of cases)
      expect((await errorOf(write("llama", options))).message).toMatch(message);
    expect(await readdir(join(output, ".."))).toEqual([]);
    await expect(mergeAdapter({ model: modelPath("llama"), output, format: "onnx" })).rejects.toThrow(
      "there is no adapter to merge",
    );
  });

  test("weights that halves do not hold", async () => {
    const base = await openBase(modelPath("llama"), access());
    const adapter = join(output, "..", "adapter");
    await makeAdapter(base, adapter, { alpha: 1e7, targetModules: ["q_proj"] });
    const error = await errorOf(write("llama", { adapter, variants: ["fp16"] }));
    expect(error.message).toMatch(/layers\.0\.attention\.q\.weight: has .*, and halves hold up to ±65504/);
    expect(await readdir(join(output, ".."))).toEqual(["adapter"]);
  });
});
