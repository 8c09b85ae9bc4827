import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { openBase } from "../../src/models/base-model.ts";
import { openAdapter } from "../../src/peft/files/adapter.ts";
import { LANGUAGE_MODELLING } from "../../src/peft/method-kind.ts";
import { type Lora, lora } from "../../src/peft/methods/lora.ts";
import { loraConfig } from "../../src/peft/methods/lora-options.ts";
import { unflatten } from "../../src/peft/parameters.ts";
import { checkpointPath, loadCheckpoint } from "../../src/train/checkpoint.ts";
import type { TrainOptions } from "../../src/train/config/config.ts";
import { trainConfig } from "../../src/train/config/config.ts";
import { eventsOf, folderHashes, openLab, runAll, tinyModel } from "./tiny-run.ts";

const lab = openLab();
afterAll(lab.remove);

function shortRun(model: string, output: string, options: TrainOptions): TrainOptions {
  const data = {
    data: [lab.data],
    testData: [lab.test],
    output: lab.path(output),
    samples: 0,
    offline: true,
  };
  const steps = { batchSize: 4, maxSteps: 3, warmupSteps: 0, learningRate: 0.02, maxLength: 64 };
  return { model: tinyModel(model), rank: 4, ...data, ...steps, threads: 1, ...options };
}

/** Hashes of every converted model in the cache. */
async function frozenHashes(): Promise<Record<string, string>[]> {
  const folder = join(lab.path("cache"), "weights");
  return Promise.all(readdirSync(folder).map((name) => folderHashes(join(folder, name))));
}

const KINDS: readonly [string, string, TrainOptions][] = [
  [
    "llama",
    "rank and alpha patterns, rsLoRA",
    {
      rankPattern: { q_proj: 2, "layers.1.mlp.down_proj": 8 },
      alphaPattern: { "self_attn.*": 3 },
      rsLora: true,
    },
  ],
  [
    "llama",
    "some layers, without some modules",
    { layers: [1], excludeModules: ["down_proj"], init: "kaiming-uniform" },
  ],
  ["llama", "a regex", { targetModules: { regex: ".*\\.(q|v)_proj" } }],
  ["llama", "tied embedding and head", { targetModules: ["embed_tokens", "lm_head", "q_proj"] }],
  ["llama", "saved head of a tied model", { modulesToSave: ["lm_head"], targetModules: ["v_proj"] }],
  ["llama3", "untied embedding and head", { targetModules: ["embed_tokens", "lm_head"] }],
  [
    "llama3",
    "saved embedding, head and norms",
    { modulesToSave: ["embed_tokens", "lm_head", "input_layernorm"], targetModules: ["o_proj"] },
  ],
  ["llama-sharded", "every bias", { bias: "all" }],
  ["llama-sharded", "biases of what is adapted", { bias: "lora_only", targetModules: ["k_proj", "up_proj"] }],
  ["gpt2", "every linear layer and bias, dropout", { bias: "all", dropout: 0.1 }],
  ["gpt2", "embeddings", { targetModules: ["wte", "wpe", "c_attn"] }],
  [
    "gpt2",
    "a saved Conv1D and norms",
    { modulesToSave: ["c_fc", "ln_f"], targetModules: ["c_attn"], rankPattern: { c_attn: 3 } },
  ],
];

test.each(KINDS)("%s, %s: trains, and the adapter reads back the same", async (model, what, options) => {
  const name = `${model}-${what.replaceAll(/\W+/g, "-")}`;
  const run = shortRun(model, name, options);
  await openBase(run.model as string, { offline: true });
  const before = await frozenHashes();
  const events = await runAll(run);
  expect(await frozenHashes()).toEqual(before);
  const [done] = eventsOf(events, "done");
  expect(done?.lossAfter).not.toBe(done?.lossBefore);
  const losses = eventsOf(events, "step").map((s) => s.loss);
  expect(losses.every(Number.isFinite)).toBe(true);
  const base = await openBase(run.model as string, { offline: true });
  const family = base.config.family;
  const trained = lora(loraConfig(trainConfig(run), base, LANGUAGE_MODELLING), family, base.modules);
  const { state } = await loadCheckpoint(checkpointPath(lab.path(name), 3));
  const { methods, theta } = await openAdapter(join(lab.path(name), "adapter"), base);
  const [read] = methods as [Lora];
  const [want, got] = [unflatten(state.theta, trained.trainables), unflatten(theta, read.trainables)];
  expect([...got.keys()].sort()).toEqual([...want.keys()].sort());
  for (const [trainable, tensor] of want) expect(got.get(trainable), trainable).toEqual(tensor);
  expect(read.plan.modules.map((m) => m.scaling)).toEqual(trained.plan.modules.map((m) => m.scaling));
});

// fp32 rounding of sums in another order, through eight updates; seen, relative: losses 1.3e-7, gradient norms 1e-7, θ 9e-8.
// Windows of 6 are 4 + 2 examples: the mean of means would be another loss. ε = 1e-4 keeps Adam from making a whole step
// of the rounding error in a gradient of 0.
test("two micro-batches of 4 are a batch of 8: losses and adapter, although labels are spread unevenly", async () => {
  const plain = { maxSteps: 8, learningRate: 0.005, epsilon: 1e-4 };
  const whole = await runAll(shortRun("llama", "batch-8", { ...plain, batchSize: 8 }));
  const parts = await runAll(shortRun("llama", "batch-4-2", { ...plain, batchSize: 4, accumulation: 2 }));
  const [a, b] = [eventsOf(whole, "step"), eventsOf(parts, "step")];
  expect(a.map((s) => s.examples)).toEqual([8, 8, 6, 8, 8, 6, 8, 8]);
  expect(b.map((s) => [s.examples, s.labelTokens])).toEqual(a.map((s) => [s.examples, s.labelTokens]));
  for (const [i, step] of a.entries()) {
    expect(Math.abs((b[i]?.loss as number) / step.loss - 1)).toBeLessThan(1e-6);
    expect(Math.abs((b[i]?.gradNorm as number) / step.gradNorm - 1)).toBeLessThan(1e-6);
  }
  const [big, small] = await Promise.all(
    ["batch-8", "batch-4-2"].map(
      async (name) => (await loadCheckpoint(checkpointPath(lab.path(name), 8))).state.theta,
    ),
  );
  const distance = Math.hypot(...(big as Float32Array).map((x, i) => x - (small?.[i] as number)));
  expect(distance / Math.hypot(...(big as Float32Array))).toBeLessThan(1e-6);
});
