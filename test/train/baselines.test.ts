import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { UnsupportedError } from "../../src/errors.ts";
import { loadModel } from "../../src/generate/model.ts";
import { mergeAdapter } from "../../src/peft/merge/merge.ts";
import { createMethods } from "../../src/peft/methods/table.ts";
import { openRuntime, type Runtime } from "../../src/runtime/runtime.ts";
import { checkpointPath, loadCheckpoint } from "../../src/train/checkpoint.ts";
import { type TrainOptions, trainConfig } from "../../src/train/config/config.ts";
import { openTiny } from "../models/harness.ts";
import { fixturePath } from "../peft/adapters.ts";
import { difference, runPadded } from "../peft/methods/relatives.ts";
import { optionsFor } from "./options-for.ts";
import {
  eventsOf,
  folderHashes,
  type Lab,
  openLab,
  runAll,
  runUntil,
  statefulRun,
  tinyModel,
} from "./tiny-run.ts";

// fp32 sums in another order, logits up to 8. Seen 4e-6.
const LOGITS = 1e-4;
const IDS = [5, 60, 7, 7, 100, 31, 18, 90, 3, 44, 45, 46];

let lab: Lab;
let runtime: Runtime;
beforeAll(() => {
  lab = openLab();
  runtime = openRuntime({ threads: 1 });
});
afterAll(async () => {
  await runtime.close();
  lab.remove();
});

async function logitsOf(model: string, adapter?: string, isMerged = false): Promise<Float32Array> {
  const access = { cacheFolder: lab.path("cache"), offline: true, threads: 1 };
  const loaded = await loadModel({ model, ...access, ...(adapter === undefined ? {} : { adapter }) });
  try {
    if (isMerged) await loaded.merge();
    return Float32Array.from((await loaded.logits(IDS)).flatMap((row) => Array.from(row)));
  } finally {
    await loaded.close();
  }
}

function merge(model: string, adapter: string, output: string, format: "folder" | "gguf" = "folder") {
  const access = { offline: true, cacheFolder: lab.path("cache") };
  return mergeAdapter({ model, adapter, output, format, ...access });
}

const RATES: Readonly<Record<string, number>> = { full: 0.003, bitfit: 0.03, ia3: 0.05 };

function optionsOf(model: string, method: string): TrainOptions {
  return {
    ...statefulRun(lab, `${model}-${method.replaceAll("+", "-")}`),
    model: tinyModel(model),
    method,
    adapterSize: 8,
    maxSteps: 12,
    checkpointEvery: 12,
    evalEvery: 12,
    samples: 0,
    dropout: 0,
    maxLength: 60,
    learningRate: RATES[method] ?? 0.01,
  };
}

const BOTTLENECKS = "its bottlenecks are not linear, and no weight holds them";

// [model, methods, how it merges: weights of the merged model; or why it does not]
describe.each([
  ["llama", "full", true],
  ["gpt2", "full", true],
  ["gemma3", "full", true],
  ["llama", "bitfit", true],
  ["gpt2", "bitfit", true],
  ["qwen2", "bitfit", true],
  ["qwen3", "bitfit", "Qwen3ForCausalLM has no place for the biases that it added to all linear layers"],
  ["phi3", "bitfit", "Phi3ForCausalLM has no place for the biases that it added to all linear layers"],
  ["gemma3", "bitfit", "Gemma3ForCausalLM has no place for the biases that it added to all linear layers"],
  ["llama", "ia3", true],
  ["phi3", "ia3", true],
  ["gpt2", "ia3", true],
  ["llama", "adapter-houlsby", BOTTLENECKS],
  ["gemma3", "adapter-pfeiffer", BOTTLENECKS],
  ["phi3", "adapter-lin", BOTTLENECKS],
  ["gpt2", "adapter-lin", BOTTLENECKS],
  ["llama", "full+lora", true],
  ["llama", "bitfit+ia3+lora", true],
  ["gpt2", "dora+ia3", true],
  ["llama", "adapter-houlsby+prefix-embedding", BOTTLENECKS],
] as const)("%s %s", (model, method, merging) => {
  let options: TrainOptions;
  let adapter: string;
  beforeAll(async () => {
    options = optionsOf(model, method);
    const events = await runAll(options);
    const [done] = eventsOf(events, "done");
    expect(done?.lossAfter as number).toBeLessThan((done?.lossBefore as number) - 0.1);
    const [plan] = eventsOf(events, "plan");
    if (method === "full") expect(plan?.share).toBe(1);
    else expect(plan?.share).toBeGreaterThan(0);
    adapter = done?.adapterPath as string;
  });

  test("what is loaded from the adapter is what was trained", async () => {
    if (method.includes("prefix")) return; // compared in prefix.test.ts
    const tiny = await openTiny(model);
    const methods = createMethods(method, trainConfig(optionsFor(method, options)), tiny.model);
    const { state } = await loadCheckpoint(checkpointPath(options.output as string, 12));
    const row = Int32Array.from([...IDS, ...IDS]);
    tiny.expected.get("input_ids")?.data.set(row as never);
    const { logits } = await runPadded(runtime, tiny, methods, state.theta);
    await tiny.close();
    const loaded = await logitsOf(tinyModel(model), adapter);
    expect(difference(loaded, (logits.data as Float32Array).slice(0, loaded.length))).toBeLessThan(LOGITS);
    expect(difference(loaded, await logitsOf(tinyModel(model)))).toBeGreaterThan(0.1);
  });

  test("merged, in a folder and in memory, it has the logits of base and adapter apart; or says why not", async () => {
    const output = lab.path(`merged-${model}-${method}`);
    if (merging !== true) {
      await expect(merge(tinyModel(model), adapter, output)).rejects.toThrow(UnsupportedError);
      await expect(merge(tinyModel(model), adapter, output)).rejects.toThrow(merging);
      return;
    }
    await merge(tinyModel(model), adapter, output);
    const apart = await logitsOf(tinyModel(model), adapter);
    expect(difference(await logitsOf(output), apart)).toBeLessThan(LOGITS);
    expect(difference(await logitsOf(tinyModel(model), adapter, true), apart)).toBeLessThan(LOGITS);
  });
});

test.each([
  ["ia3-llama", "llama"],
  ["ia3-gpt2", "gpt2"],
  ["ia3-biases", "llama-sharded"],
  ["ia3-pattern", "qwen3"],
  ["ia3-phi3", "phi3"],
])("%s, made by PEFT, merges", async (name, model) => {
  const output = lab.path(`merged-peft-${name}`);
  const adapter = fixturePath(`methods/baselines/${name}`);
  await merge(tinyModel(model), adapter, output);
  const [merged, apart] = [await logitsOf(output), await logitsOf(tinyModel(model), adapter)];
  expect(difference(merged, apart)).toBeLessThan(LOGITS);
  expect(difference(apart, await logitsOf(tinyModel(model)))).toBeGreaterThan(0.01);
});

test("biases that were added have a place in the merged model, a folder or a GGUF file", async () => {
  const adapter = fixturePath("methods/baselines/bitfit-llama");
  const apart = await logitsOf(tinyModel("llama"), adapter);
  const [folder, file] = [lab.path("with-biases"), lab.path("with-biases.gguf")];
  await merge(tinyModel("llama"), adapter, folder);
  const config = JSON.parse(await readFile(join(folder, "config.json"), "utf8"));
  expect(config).toMatchObject({ attention_bias: true, mlp_bias: true });
  await merge(tinyModel("llama"), adapter, file, "gguf");
  for (const merged of [folder, file]) expect(difference(await logitsOf(merged), apart)).toBeLessThan(LOGITS);
});

test("a tied output layer stays tied when everything is trained", async () => {
  const tied = "gpt2";
  const output = lab.path("still-tied");
  const options = { ...optionsOf(tied, "full"), output: lab.path("tied"), maxSteps: 2 };
  await runAll(options);
  await merge(tinyModel(tied), join(lab.path("tied"), "adapter"), output);
  const config = JSON.parse(await readFile(join(output, "config.json"), "utf8"));
  const before = JSON.parse(await readFile(join(tinyModel(tied), "config.json"), "utf8"));
  expect(config.tie_word_embeddings ?? true).toBe(before.tie_word_embeddings ?? true);
});

// Dropout (of LoRA beside it), accumulation and decay included.
test.each(["full", "bitfit", "adapter-lin", "ia3", "lora+adapter-houlsby"])(
  "%s: a run that is interrupted and resumed ends the same",
  async (method) => {
    const name = method.replaceAll("+", "-");
    const whole = { ...statefulRun(lab, `${name}-whole`), method, layers: "last:1" as const, adapterSize: 4 };
    const parts = { ...whole, output: lab.path(`${name}-parts`) };
    await runAll(whole);
    await runUntil(parts, (event) => event.type === "step" && event.step === 5);
    await runAll({ ...parts, resume: parts.output });
    for (const part of method.includes("+") ? method.split("+") : [""]) {
      const [a, b] = [whole, parts].map((run) => folderHashes(join(run.output as string, "adapter", part)));
      expect(await b).toEqual(await a);
    }
  },
);
