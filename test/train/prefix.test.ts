import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { evaluate } from "../../src/evaluate/evaluate.ts";
import { createDecoder } from "../../src/generate/decoder.ts";
import { loadModel } from "../../src/generate/model.ts";
import { openBase } from "../../src/models/base-model.ts";
import { mergeAdapter } from "../../src/peft/merge/merge.ts";
import { createMethods } from "../../src/peft/methods/table.ts";
import { virtualLayout } from "../../src/peft/virtual-tokens.ts";
import { openRuntime } from "../../src/runtime/runtime.ts";
import { floats } from "../../src/tensor/tensor.ts";
import { checkpointPath, loadCheckpoint } from "../../src/train/checkpoint.ts";
import { type TrainOptions, trainConfig } from "../../src/train/config/config.ts";
import { optionsFor } from "./options-for.ts";
import { eventsOf, folderHashes, openLab, runAll, runUntil, tinyModel } from "./tiny-run.ts";

const lab = openLab();
afterAll(lab.remove);

const STEPS = 6;
const IDS = [5, 60, 7, 7, 100, 31, 18, 90, 3, 44];

function shortRun(model: string, output: string, options: TrainOptions): TrainOptions {
  const data = {
    data: [lab.data],
    testData: [lab.test],
    output: lab.path(output),
    samples: 1,
    offline: true,
  };
  const steps = { batchSize: 8, maxSteps: STEPS, warmupSteps: 0, learningRate: 0.05, maxLength: 60 };
  return { model: tinyModel(model), rank: 2, prefixLength: 3, ...data, ...steps, threads: 1, ...options };
}

function differenceOf(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  expect(a.length).toBe(b.length);
  return Math.max(...a.map((row, i) => Math.max(...row.map((x, j) => Math.abs(x - (b[i]?.[j] as number))))));
}

/** Logits of the parameters in a run's last checkpoint, by the methods that trained them. */
async function trainedLogits(run: TrainOptions, output: string): Promise<Float32Array[]> {
  const base = await openBase(run.model as string, { offline: true });
  const methods = createMethods(
    run.method as string,
    trainConfig(optionsFor(run.method as string, run)),
    base,
  );
  const { state } = await loadCheckpoint(checkpointPath(lab.path(output), STEPS));
  const { config, family, modules, frozen, weights } = base;
  const model = { config, family, modules, frozen, methods, positionCount: 40, rowTokens: 40 };
  const runtime = openRuntime({ threads: 1 });
  try {
    await runtime.put({ theta: floats(state.theta, [state.theta.length]) });
    const decoder = await createDecoder(runtime, model, weights.folder);
    const { prefix } = virtualLayout(methods, config.vocabSize);
    return (await decoder.score([...prefix, ...IDS])).slice(prefix.length);
  } finally {
    await runtime.close();
  }
}

const RUNS: readonly (readonly [string, string, TrainOptions])[] = [
  ["llama", "prefix-embedding", {}],
  ["llama", "prefix-embedding", { infixLength: 2, prefixText: "list the files" }],
  ["gpt2", "prefix-layer", { infixLength: 1 }],
  ["llama", "prefix-tuning", {}],
  ["gpt2", "prefix-tuning", { prefixProjection: 8, learningRate: 0.01 }],
  ["llama", "lora+prefix-embedding", { infixLength: 1 }],
  ["llama", "prefix-layer+lora", {}],
  ["gpt2", "lora+prefix-layer", { infixLength: 2 }],
];

describe.each(RUNS)("%s %s %o", (model, method, options) => {
  test("trains, saves, loads, answers and is scored; it does not merge", async () => {
    const output = `${model}-${method}-${Object.keys(options).join("-")}`;
    const run = shortRun(model, output, { method, ...options });
    const events = await runAll(run);
    const [done] = eventsOf(events, "done");
    expect(done?.lossAfter as number).toBeLessThan(done?.lossBefore as number);
    expect(eventsOf(events, "samples").length).toBeGreaterThan(0);

    const adapter = join(lab.path(output), "adapter");
    const loaded = await loadModel({ model: run.model as string, adapter, offline: true, threads: 1 });
    try {
      expect(loaded.adapter?.methods).toEqual(method.split("+"));
      // The same graph and θ; the perceptron's prefix is computed in another order.
      const bound = options.prefixProjection === undefined ? 0 : 1e-4;
      expect(differenceOf(await loaded.logits(IDS), await trainedLogits(run, output))).toBeLessThanOrEqual(
        bound,
      );
      const { promptTokens, ids } = await loaded.generateText({
        prompt: "list the file 3",
        raw: true,
        maxTokens: 5,
      });
      expect(promptTokens).toBeLessThan(20);
      expect(Math.max(0, ...ids)).toBeLessThan(loaded.base.config.vocabSize);
      await expect(loaded.merge()).rejects.toThrow(/prefix-\w+ cannot be merged: its /);
    } finally {
      await loaded.close();
    }
    await expect(
      mergeAdapter({ model: run.model as string, adapter, output: lab.path("merged"), offline: true }),
    ).rejects.toThrow(/cannot be merged/);

    const scored: number[] = [];
    const data = { data: [lab.test], maxLength: 60, offline: true };
    for await (const event of evaluate({ model: run.model as string, adapter, ...data }))
      if (event.type === "result") scored.push(event.loss);
    expect(scored[0]).toBeCloseTo(done?.lossAfter as number, 4);
  });
});

test("an interrupted run of a combination goes on to the same adapter", async () => {
  const options = { method: "lora+prefix-embedding", infixLength: 1, dropout: 0.2, checkpointEvery: 2 };
  const whole = shortRun("llama", "whole", options);
  await runAll(whole);
  const cut = shortRun("llama", "cut", options);
  await runUntil(cut, (event) => event.type === "step" && event.step === 3);
  await runAll({ ...cut, resume: lab.path("cut") });
  for (const part of ["lora", "prefix-embedding"]) {
    const [a, b] = ["whole", "cut"].map((name) => folderHashes(join(lab.path(name), "adapter", part)));
    expect(await b).toEqual(await a);
  }
});

describe("positions of gpt2, which has 64", () => {
  test("training refuses lengths that leave no room for what the method adds", async () => {
    const tooLong = shortRun("gpt2", "long", { method: "prefix-tuning", maxLength: 62 });
    await expect(runAll(tooLong)).rejects.toThrow(/maxLength: expected at most 61, .* got 62/);
    await runAll({ ...tooLong, output: lab.path("as-long-as-it-can"), maxLength: null, maxSteps: 1 });
    // Virtual tokens are part of the length, so that an example with them always fits.
    const short = shortRun("gpt2", "short", { method: "prefix-embedding", maxLength: 4 });
    await expect(runAll(short)).rejects.toThrow(/maxLength: expected at least 5, 3 virtual tokens and 2 /);
    const exact = shortRun("gpt2", "exact", { method: "prefix-tuning", maxLength: 61, maxSteps: 1 });
    await runAll(exact);
  });

  test("generation has as many less, by method, also after a swap", async () => {
    const folder = async (method: string): Promise<string> => {
      const run = shortRun("gpt2", `room-${method}`, { method, maxSteps: 1 });
      await runAll(run);
      return join(lab.path(`room-${method}`), "adapter");
    };
    const ids = (count: number): number[] => Array.from({ length: count }, (_, i) => 3 + (i % 100));
    const model = await loadModel({ model: tinyModel("gpt2"), offline: true, threads: 1 });
    try {
      expect((await model.logits(ids(64))).length).toBe(64);
      for (const method of ["prefix-tuning", "prefix-embedding"]) {
        await model.swap(await folder(method));
        expect((await model.logits(ids(61))).length, method).toBe(61);
        await expect(model.logits(ids(62))).rejects.toThrow(/expected 1 to 61 tokens, got 62/);
        const prompt = "a".repeat(58);
        const { ids: got } = await model.generateText({ prompt, raw: true, maxTokens: 9, temperature: 0 });
        expect(got.length, "the context of 61 is full").toBeLessThanOrEqual(3);
      }
      await model.swap(null);
      expect((await model.logits(ids(64))).length).toBe(64);
    } finally {
      await model.close();
    }
  });
});
