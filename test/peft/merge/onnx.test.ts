import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { OnnxVariant } from "../../../src/formats/transformers-js/layout.ts";
import { openBase } from "../../../src/models/base-model.ts";
import { outputsOf } from "../../../src/peft/merge/check.ts";
import { type ExportOptions, exportModel } from "../../../src/peft/merge/merge.ts";
import { openRuntime, type Runtime } from "../../../src/runtime/runtime.ts";
import { adapterPath, createLoader, type Loader, modelPath } from "../../generate/loading.ts";
import { expectedOf, FAMILY_NAMES, openTiny } from "../../models/harness.ts";
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
