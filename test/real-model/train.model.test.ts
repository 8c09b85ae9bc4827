import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { findBundled } from "../../src/data/bundled.ts";
import { packagedPath } from "../../src/data/packaged-path.ts";
import { type EvaluateOptions, type EvaluationSummary, evaluate } from "../../src/evaluate/evaluate.ts";
import { mergeAdapter } from "../../src/peft/merge/merge.ts";
import type { TrainOptions } from "../../src/train/config/config.ts";
import type { TrainEvent } from "../../src/train/events.ts";
import { train } from "../../src/train/trainer.ts";
import { MODEL } from "./smollm2.ts";

let folder: string;
let adapter: string;
let losses: { before: number; after: number };
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-test-"));
});
afterAll(() => rm(folder, { recursive: true }));

const fields = { promptField: "prompt", completionField: "command", maxLength: 128 };
const testData = (): string => join(folder, "test.jsonl");

/** The first test rows of shell-recipes. */
async function writeTestRows(count: number): Promise<void> {
  const rows = await readFile(packagedPath(findBundled("shell-recipes")?.files.test as string), "utf8");
  await writeFile(testData(), rows.split("\n").slice(0, count).join("\n"));
}

async function eventsOf(options: TrainOptions): Promise<TrainEvent[]> {
  const events: TrainEvent[] = [];
  for await (const event of train(options)) events.push(event);
  return events;
}

async function lossOf(options: Partial<EvaluateOptions>): Promise<EvaluationSummary> {
  let last: unknown;
  const choice = { model: MODEL, data: [testData()], batchSize: 16, ...fields };
  for await (const event of evaluate({ ...choice, ...options })) last = event;
  return last as EvaluationSummary;
}

test("six steps lower the loss on shell-recipes", async () => {
  await writeTestRows(32);
  const data = {
    data: [packagedPath(findBundled("shell-recipes")?.files.train as string)],
    testData: [testData()],
    ...fields,
  };
  const adapted = { rank: 8, alpha: 16, targetModules: ["q_proj", "v_proj"] };
  const steps = {
    batchSize: 8,
    maxSteps: 6,
    learningRate: 3e-3,
    warmupSteps: 0,
    schedule: "constant" as const,
  };
  const output = join(folder, "run");
  const events = await eventsOf({ model: MODEL, output, samples: 0, ...data, ...adapted, ...steps });
  const stepLosses = events.flatMap((e) => (e.type === "step" ? [e.loss] : []));
  expect(stepLosses).toHaveLength(6);
  const [before, after] = events.flatMap((e) => (e.type === "evaluation" ? [e.loss] : []));
  losses = { before: before as number, after: after as number };
  // Seen: 3.47 → 1.83 nats per token.
  expect(losses.after).toBeLessThan(losses.before - 0.5);
  const done = events.at(-1);
  if (done?.type !== "done") throw new Error(`the run ended with ${done?.type}`);
  adapter = done.adapterPath;
});

test("the written adapter has the loss that training said, the base the one before", async () => {
  const [base, adapted] = [await lossOf({}), await lossOf({ adapter })];
  // Float32 either way, in the same batches.
  expect(Math.abs(base.loss - losses.before)).toBeLessThan(1e-6);
  expect(Math.abs(adapted.loss - losses.after)).toBeLessThan(1e-6);
});

test("merged into a folder it has the same loss", async () => {
  const output = join(folder, "merged");
  const { maxLogitDifference, changedWeights } = await mergeAdapter({ model: MODEL, adapter, output });
  expect(changedWeights).toBe(60);
  expect(maxLogitDifference).toBeLessThan(2e-4);
  const merged = await lossOf({ model: output, cacheFolder: join(folder, "cache") });
  // Seen: 8e-7.
  expect(Math.abs(merged.loss - losses.after)).toBeLessThan(1e-4);
});
