import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { METHOD_NAMES } from "../../src/peft/methods/table.ts";
import type { TrainOptions } from "../../src/train/config/config.ts";
import { encoderFolder } from "../models/encoders.ts";
import { eventsOf, type Lab, openLab, runAll, statefulRun, tinyModel } from "../train/tiny-run.ts";
import { whyNot } from "./there.ts";

const reason = await whyNot("webgpu");
let lab: Lab;
beforeAll(() => {
  lab = openLab();
});
afterAll(() => lab.remove());

const STEPS = 3;

/** Losses and gradient norms of the steps, and the loss on validation rows, of a run. */
async function numbersOf(name: string, options: TrainOptions, device: "cpu" | "webgpu"): Promise<number[]> {
  const run: TrainOptions = {
    ...statefulRun(lab, `${name}-${device}`.replaceAll(/[^\w-]/g, "_")),
    maxSteps: STEPS,
    checkpointEvery: null,
    samples: 0,
    ...options,
    device,
  };
  const events = await runAll(run);
  const steps = eventsOf(events, "step").flatMap(({ loss, gradNorm }) => [loss, gradNorm]);
  return [...steps, ...eventsOf(events, "evaluation").map(({ loss }) => loss)];
}

/** The largest difference beside what it is of. */
function distance(a: readonly number[], b: readonly number[]): number {
  expect(a.length).toBe(b.length);
  return Math.max(...a.map((x, i) => Math.abs(x - (b[i] as number)) / Math.max(1e-3, Math.abs(x))));
}

const CASES: readonly (readonly [string, TrainOptions])[] = [
  ...["llama", "llama3", "mistral", "qwen2", "qwen3", "phi3", "gemma3"].map(
    (name) => [name, { model: tinyModel(name), targetModules: "all-linear" }] as const,
  ),
  ...METHOD_NAMES.map((method) => [`llama, ${method}`, { method, dropout: 0 }] as const),
  ["llama, lora+prefix-embedding", { method: "lora+prefix-embedding", dropout: 0 }],
  ...(["none", "cheap", "layer"] as const).map((recompute) => [`recompute ${recompute}`, { recompute }] as const),
  ["8 bits", { baseBits: 8 }],
  ["4 bits", { baseBits: 4 }],
];

const found: string[] = [];
describe.skipIf(reason !== null)(`webgpu beside the CPU${reason ? `: ${reason}` : ""}`, () => {
  test.each(CASES)("%s", async (name, options) => {
    const [cpu, gpu] = [await numbersOf(name, options, "cpu"), await numbersOf(name, options, "webgpu")];
    if (process.env.SHOW) console.log(cpu, gpu);
    const error = distance(cpu, gpu);
    found.push(`${name}: ${error.toExponential(1)}`);
    expect(error).toBeLessThan(1e-4);
  });
  afterAll(() => console.log(found.join("\n")));
});
