import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { findBundled } from "../../src/data/bundled.ts";
import { packagedPath } from "../../src/data/packaged-path.ts";
import { METHOD_NAMES } from "../../src/peft/methods/table.ts";
import type { TrainOptions } from "../../src/train/config/config.ts";
import { train } from "../../src/train/trainer.ts";
import { optionsFor } from "../train/options-for.ts";
import { MODEL } from "./smollm2.ts";

/** What each method trains with: a learning rate at which five steps show, small sizes. */
const METHODS: Readonly<Record<string, TrainOptions>> = {
  lora: { learningRate: 3e-3 },
  dora: { learningRate: 3e-3 },
  rslora: { learningRate: 2e-3 },
  "lora-plus": { learningRate: 1e-3 },
  pissa: { learningRate: 1e-3, layers: "last:4" },
  olora: { learningRate: 1e-4, layers: "last:4" },
  vera: { learningRate: 0.03, rank: 64 },
  adalora: { learningRate: 0.02 },
  "prefix-embedding": { learningRate: 0.02 },
  "prefix-layer": { learningRate: 0.01 },
  "prefix-tuning": { learningRate: 0.02 },
  // Of the whole model the checkpoint alone is 2 GB.
  full: { learningRate: 2e-4, layers: "last:2" },
  bitfit: { learningRate: 5e-3 },
  "adapter-houlsby": { learningRate: 2e-3 },
  "adapter-pfeiffer": { learningRate: 2e-3 },
  "adapter-lin": { learningRate: 1e-3 },
  ia3: { learningRate: 0.03, targetModules: "all-linear" },
  intrinsic: { learningRate: 0.03 },
  "lora+prefix-embedding": { learningRate: 3e-3 },
  "lora+prefix-layer": { learningRate: 3e-3 },
};

let folder: string;
let data: TrainOptions;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-test-"));
  const files = findBundled("shell-recipes")?.files;
  const testData = join(folder, "test.jsonl");
  const rows = await readFile(packagedPath(files?.test as string), "utf8");
  await writeFile(testData, rows.split("\n").slice(0, 16).join("\n"));
  data = { data: [packagedPath(files?.train as string)], testData: [testData], limit: 20 };
});
afterAll(() => rm(folder, { recursive: true }));

test("every method of the table is here", () => {
  expect(Object.keys(METHODS)).toEqual(expect.arrayContaining([...METHOD_NAMES]));
});

test.each(Object.entries(METHODS))("%s: five steps lower the loss on held-out rows", async (method, own) => {
  const losses: number[] = [];
  const options = optionsFor(method, {
    ...data,
    model: MODEL,
    output: join(folder, method),
    ...{ promptField: "prompt", completionField: "command", maxLength: 96 },
    ...{ rank: 8, alpha: 16, targetModules: ["q_proj", "v_proj"], adapterSize: 16, prefixLength: 4 },
    ...{ batchSize: 4, maxSteps: 5, warmupSteps: 0, schedule: "constant", checkpointEvery: 5, samples: 0 },
    ...own,
  });
  const run = train(options);
  for await (const event of run) if (event.type === "evaluation") losses.push(event.loss);
  await rm(join(folder, method), { recursive: true });
  const [before, after] = losses as [number, number];
  // From about 3.7 nats per token.
  expect(after).toBeLessThan(before - 0.05);
});
