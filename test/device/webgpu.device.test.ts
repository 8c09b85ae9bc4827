import { writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel } from "../../src/generate/model.ts";
import { METHOD_NAMES } from "../../src/peft/methods/table.ts";
import { openRuntime } from "../../src/runtime/runtime.ts";
import { engineVersion } from "../../src/runtime/version.ts";
import type { TrainOptions } from "../../src/train/config/config.ts";
import { encoderFolder } from "../models/encoders.ts";
import { openTiny } from "../models/harness.ts";
import { createOn, runPadded, startOf } from "../peft/methods/relatives.ts";
import { eventsOf, type Lab, openLab, runAll, statefulRun, tinyModel } from "../train/tiny-run.ts";
import { whyNot } from "./there.ts";

const reason = await whyNot("webgpu");
let lab: Lab;
beforeAll(() => {
  lab = openLab();
});
afterAll(() => lab.remove());

const STEPS = 3;
/** Other orders of sums, through three updates; AdamW's first steps have the size of the rate however small a gradient is. */
const LIMIT = 1e-5;

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

/** Sentences with a label each. */
const labelled = (count: number): string =>
  Array.from({ length: count }, (_, i) => {
    const text = ["the film was great", "a dull story", "music was a pleasure", "the last minute was awful"][
      i % 4
    ];
    return `${JSON.stringify({ text: `${text} ${"and the script ".repeat(i % 3)}`, label: i % 2 ? "bad" : "good" })}\n`;
  }).join("");

const encoder =
  (name: string): (() => TrainOptions) =>
  () => {
    const data = lab.path("labelled.jsonl");
    writeFileSync(data, labelled(16));
    return {
      model: encoderFolder(name),
      data: [data],
      validationData: [data],
      testData: null,
      maxLength: 40,
    };
  };

const CASES: readonly (readonly [string, TrainOptions | (() => TrainOptions)])[] = [
  ...["llama", "llama3", "mistral", "qwen2", "qwen3", "phi3", "gemma3"].map(
    (name) => [name, { model: tinyModel(name), targetModules: "all-linear" }] as const,
  ),
  ["bert", encoder("bert")],
  ["roberta", encoder("roberta")],
  ...METHOD_NAMES.filter((name) => name !== "intrinsic").map(
    (method) => [`llama, ${method}`, { method, dropout: 0 }] as const,
  ),
  ["llama, lora+prefix-embedding", { method: "lora+prefix-embedding", dropout: 0 }],
  ...(["none", "cheap", "layer"] as const).map(
    (recompute) => [`recompute ${recompute}`, { recompute }] as const,
  ),
  ["8 bits", { baseBits: 8 }],
  ["4 bits", { baseBits: 4 }],
];

const found: string[] = [];
function record(name: string, error: number): void {
  found.push(`| ${name} | ${error.toExponential(1)} |`);
  expect(error).toBeLessThan(LIMIT);
}

describe.skipIf(reason !== null)(`webgpu beside the CPU${reason ? `: ${reason}` : ""}`, () => {
  test.each(CASES)("%s", async (name, given) => {
    const options = typeof given === "function" ? given() : given;
    const [cpu, gpu] = [await numbersOf(name, options, "cpu"), await numbersOf(name, options, "webgpu")];
    const error = distance(cpu, gpu);
    record(name, error);
  });
  test("gpt2", async () => {
    const tiny = await openTiny("gpt2");
    const methods = [createOn(tiny, "lora", { targetModules: "all-linear" })];
    const theta = await startOf(tiny, methods);
    const results = [];
    for (const device of ["cpu", "webgpu"] as const) {
      const runtime = openRuntime({ device });
      const { loss, gradient } = await runPadded(runtime, tiny, methods, theta);
      results.push({ loss, gradient });
      await runtime.close();
    }
    await tiny.close();
    const [cpu, gpu] = results as [(typeof results)[0], (typeof results)[0]];
    const largest = Math.max(...cpu.gradient.map(Math.abs));
    const off = Math.max(...cpu.gradient.map((g, i) => Math.abs(g - (gpu.gradient[i] as number))));
    record("gpt2", Math.max(off / largest, distance([cpu.loss], [gpu.loss])));
  });

  test.each([32, 8, 4] as const)("answers of a base in %d bits", async (baseBits) => {
    const texts: string[] = [];
    for (const device of ["cpu", "webgpu"] as const) {
      const model = await loadModel({ model: tinyModel("llama"), baseBits, device, offline: true });
      const { text } = await model.generateText({ prompt: "list the files", maxTokens: 24, raw: true });
      texts.push(text);
      await model.close();
    }
    expect(texts[1]).toBe(texts[0]);
  });

  test("a method that needs what the device lacks is refused by name", async () => {
    const run = numbersOf("intrinsic", { method: "intrinsic", dropout: 0 }, "webgpu");
    await expect(run).rejects.toThrow('device "webgpu" has no BitwiseXor, which this graph needs');
  });

  afterAll(async () => {
    const { DEVICE_TABLE_FILE: path } = process.env;
    if (path) await writeFile(path, tableText());
  });
});

function tableText(): string {
  return `# WebGPU beside the CPU

Three updates of a tiny model (of gpt2 one gradient): the largest relative difference of losses and gradient norms of the steps and of the
losses on held-out rows. ONNX Runtime ${engineVersion()}, Mesa's software driver.

| what | error |
| - | - |
${found.join("\n")}
`;
}
