import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { createDecoder } from "../../src/generate/decoder.ts";
import { loadModel } from "../../src/generate/model.ts";
import { openBase } from "../../src/models/base-model.ts";
import { mergeAdapter } from "../../src/peft/merge.ts";
import { createMethods } from "../../src/peft/methods.ts";
import { virtualLayout } from "../../src/peft/virtual-tokens.ts";
import { openRuntime } from "../../src/runtime/runtime.ts";
import { floats } from "../../src/tensor/tensor.ts";
import { checkpointPath, loadCheckpoint } from "../../src/train/checkpoint.ts";
import { type TrainOptions, trainConfig } from "../../src/train/config.ts";
import { evaluate } from "../../src/train/evaluate.ts";
import { methodOptionsOf } from "../../src/train/plan.ts";
import { eventsOf, openLab, runAll, tinyModel } from "./tiny-run.ts";

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
  const methods = createMethods(run.method as string, methodOptionsOf(trainConfig(run)), base);
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
