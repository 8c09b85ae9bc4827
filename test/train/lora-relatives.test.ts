import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel } from "../../src/generate/model.ts";
import { openBase } from "../../src/models/base-model.ts";
import { mergeAdapter } from "../../src/peft/merge/merge.ts";
import { createMethods } from "../../src/peft/methods/table.ts";
import { initialParameters, unflatten } from "../../src/peft/parameters.ts";
import { openRuntime, type Runtime } from "../../src/runtime/runtime.ts";
import { checkpointPath, loadCheckpoint } from "../../src/train/checkpoint.ts";
import { type TrainOptions, trainConfig } from "../../src/train/config/config.ts";
import { openTiny, paddedFeeds, type TinyModel } from "../models/harness.ts";
import { fixturePath } from "../peft/adapters.ts";
import { difference, runPadded } from "../peft/methods/relatives.ts";
import { optionsFor } from "./options-for.ts";
import {
  adapterHashes,
  eventsOf,
  type Lab,
  openLab,
  runAll,
  runUntil,
  statefulRun,
  tinyModel,
} from "./tiny-run.ts";

// fp32 sums in another order, logits up to 8.
const LOGITS = 1e-4;

let lab: Lab;
let runtime: Runtime;
let tiny: TinyModel;
beforeAll(async () => {
  lab = openLab();
  runtime = openRuntime({ threads: 1 });
  tiny = await openTiny("llama");
});
afterAll(async () => {
  await tiny.close();
  await runtime.close();
  lab.remove();
});

/** Row 0 of the padded batch. */
function ids(): number[] {
  return Array.from(paddedFeeds(tiny).tokens?.data as Int32Array).slice(0, 12);
}

async function logitsOf(model: string, adapter?: string): Promise<Float32Array> {
  const access = { cacheFolder: lab.path("cache"), offline: true, threads: 1 };
  const loaded = await loadModel({ model, ...access, ...(adapter === undefined ? {} : { adapter }) });
  try {
    return Float32Array.from((await loaded.logits(ids())).flatMap((row) => Array.from(row)));
  } finally {
    await loaded.close();
  }
}

function optionsOf(method: string): TrainOptions {
  return {
    ...statefulRun(lab, method.replaceAll("+", "-")),
    method,
    maxSteps: 12,
    checkpointEvery: 12,
    evalEvery: 12,
    samples: 0,
    dropout: 0,
    learningRate: { vera: 0.05, intrinsic: 0.05 }[method] ?? 0.01,
  };
}

const METHODS = [
  "dora",
  "rslora",
  "lora-plus",
  "pissa",
  "olora",
  "vera",
  "adalora",
  "lora+vera",
  "lora+adalora",
  "dora+vera",
  "intrinsic",
  "lora+intrinsic",
  "intrinsic+dora",
];

describe.each(METHODS)("%s", (method) => {
  let options: TrainOptions;
  let adapter: string;
  beforeAll(async () => {
    options = optionsOf(method);
    const [done] = eventsOf(await runAll(options), "done");
    expect(done?.lossAfter as number).toBeLessThan((done?.lossBefore as number) - 0.2);
    adapter = done?.adapterPath as string;
  });

  test("what is loaded from the adapter is what was trained", async () => {
    const methods = createMethods(method, trainConfig(optionsFor(method, options)), tiny.model);
    const { state } = await loadCheckpoint(checkpointPath(options.output as string, 12));
    const { logits } = await runPadded(runtime, tiny, methods, state.theta);
    const trained = (logits.data as Float32Array).slice(0, 12 * 128);
    const loaded = await logitsOf(tinyModel("llama"), adapter);
    expect(difference(loaded, trained)).toBeLessThan(LOGITS);
    expect(difference(loaded, await logitsOf(tinyModel("llama")))).toBeGreaterThan(0.1);
  });

  test("merged, it has the logits of base and adapter apart", async () => {
    const output = lab.path(`merged-${method}`);
    await mergeAdapter({
      model: tinyModel("llama"),
      adapter,
      output,
      offline: true,
      cacheFolder: lab.path("cache"),
    });
    const apart = await logitsOf(tinyModel("llama"), adapter);
    expect(difference(await logitsOf(output), apart)).toBeLessThan(LOGITS);
  });
});

const CASES = [
  ["dora-biases", "llama-sharded"],
  ["dora-gpt2", "gpt2"],
  ["dora-embedding", "llama"],
  ["pissa-patterns", "gpt2"],
  ["vera", "llama-sharded"],
  ["vera-gpt2", "gpt2"],
  ["adalora", "llama"],
  ["adalora-pruned", "llama"],
] as const;

test.each(CASES)("%s, made by PEFT, merges", async (name, model) => {
  const output = lab.path(`merged-peft-${name}`);
  const adapter = fixturePath(`methods/lora-relatives/${name}`);
  const access = { offline: true, cacheFolder: lab.path("cache") };
  const result = await mergeAdapter({ model: tinyModel(model), adapter, output, ...access });
  expect(result.maxLogitDifference).toBeLessThan(LOGITS);
  const [merged, apart] = [await logitsOf(output), await logitsOf(tinyModel(model), adapter)];
  expect(difference(merged, apart)).toBeLessThan(LOGITS);
  expect(difference(apart, await logitsOf(tinyModel(model)))).toBeGreaterThan(0.01);
});

// Dropout, accumulation and decay included.
test.each(["dora", "pissa", "vera", "adalora", "intrinsic"])(
  "%s: a run that is interrupted and resumed ends the same",
  async (method) => {
    const whole = { ...statefulRun(lab, `${method}-whole`), method };
    const parts = { ...whole, output: lab.path(`${method}-parts`) };
    await runAll(whole);
    await runUntil(parts, (event) => event.type === "step" && event.step === 5);
    await runAll({ ...parts, resume: parts.output });
    expect(await adapterHashes(parts.output)).toEqual(await adapterHashes(whole.output as string));
  },
);

test("the projections, their seed and starting factors are not touched by weight decay", async () => {
  const base = await openBase(tinyModel("llama"), { offline: true });
  for (const method of ["pissa", "vera", "intrinsic"]) {
    const run = { ...statefulRun(lab, `${method}-whole`), method };
    const [created] = createMethods(method, trainConfig(optionsFor(method, run)), base);
    const { state } = await loadCheckpoint(checkpointPath(run.output as string, 9));
    const trainables = created?.trainables ?? [];
    const first = await initialParameters(trainables, 0, (path) => base.weights.read(path));
    const [before, after] = [unflatten(first, trainables), unflatten(state.theta, trainables)];
    for (const t of trainables)
      expect(`${after.get(t.name)?.data}` === `${before.get(t.name)?.data}`, t.name).toBe(t.fixed === true);
  }
  expect(
    JSON.parse(await readFile(join(lab.path("vera-whole"), "adapter", "adapter_config.json"), "utf8")),
  ).toMatchObject({
    peft_type: "VERA",
    r: 4,
    target_modules: ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"],
  });
});
