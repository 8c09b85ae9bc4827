import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openSafetensors } from "../../src/formats/safetensors/read.ts";
import { inspect } from "../../src/inspect/inspect.ts";
import { methodCosts } from "../../src/inspect/method-costs.ts";
import { METHOD_NAMES } from "../../src/peft/methods/table.ts";
import { checkpointPath } from "../../src/train/checkpoint.ts";
import type { DoneEvent, PlanEvent } from "../../src/train/events.ts";
import { readSummary } from "../../src/train/summary.ts";
import { encoderFolder } from "../models/encoders.ts";
import { eventsOf, type Lab, openLab, runAll, statefulRun, tinyModel } from "./tiny-run.ts";

let lab: Lab;
beforeAll(() => {
  lab = openLab();
});
afterAll(() => lab.remove());

async function tensorBytes(path: string): Promise<Record<string, number>> {
  const file = await openSafetensors(path);
  const sizes = [...file.entries.values()].map(({ name, sizeBytes }) => [name, sizeBytes]);
  await file.close();
  return Object.fromEntries(sizes);
}

const OWN = {
  validationData: null,
  evalEvery: null,
  checkpointEvery: 3,
  maxSteps: 3,
  warmupSteps: 0,
  samples: 0,
};

describe.each([...METHOD_NAMES, "lora+prefix-embedding", "ia3+full"])("%s", (method) => {
  let output: string;
  let plan: PlanEvent;
  let done: DoneEvent;
  beforeAll(async () => {
    const run = { ...statefulRun(lab, method.replaceAll("+", "-")), ...OWN, method, dropout: 0 };
    output = run.output as string;
    const events = await runAll(run);
    [plan] = eventsOf(events, "plan") as [PlanEvent];
    [done] = eventsOf(events, "done") as [DoneEvent];
  });

  test("the planned bytes are those of the files", async () => {
    const { resources } = plan;
    const { theta, m, v } = await tensorBytes(join(checkpointPath(output, 3), "optimizer.safetensors"));
    expect(resources.gradientBytes).toBe(theta);
    expect(resources.optimizerBytes).toBe((m as number) + (v as number));
    expect(resources.trainableBytes).toBe(4 * plan.trainableParameters);
    expect(done.measured.adapterBytes).toBe(resources.adapterBytes);
    // Beside the vectors and the adapter there is the progression, a small JSON file.
    const rest = done.measured.checkpointBytes - resources.checkpointBytes;
    expect(rest).toBeGreaterThan(0);
    expect(rest).toBeLessThan(4096);
  });

  test("parts of the memory add up; the peak is the process's", () => {
    const { frozenBytes, trainableBytes, gradientBytes, optimizerBytes, workingBytes, memoryBytes } =
      plan.resources;
    expect(frozenBytes + trainableBytes + gradientBytes + optimizerBytes + workingBytes).toBe(memoryBytes);
    expect(workingBytes).toBeGreaterThan(0);
    expect(done.measured.peakMemoryBytes).toBeGreaterThan(50e6);
  });

  test("summary, report and inspection tell both", async () => {
    expect(await readSummary(output)).toEqual({ plan, done });
    const page = await readFile(join(output, "report.html"), "utf8");
    for (const what of ["Gradient", "Optimizer state", "Adapter on disk", "Measured"])
      expect(page).toContain(what);
    const facts = Object.fromEntries((await inspect(output)).facts);
    expect(facts["adapter on disk"]).toMatch(/^[\d.,]+ MiB, measured [\d.,]+ MiB$/);
    expect(facts["frozen weights"]).toMatch(/MiB$/);
    const { facts: of, format, tensors } = await inspect(done.adapterPath);
    expect(of.find(([label]) => label === "Method")?.[1]).toBeTruthy();
    expect(format).toMatch(/^(PEFT|lowrank) adapter$/);
    expect(tensors.length).toBeGreaterThan(0);
  });
});

test("what every method would cost, without weights", async () => {
  const costs = await methodCosts(tinyModel("llama"), { rank: 4 });
  expect(costs.map((c) => c.method)).toEqual(METHOD_NAMES);
  for (const { method, trainableParameters, resources } of costs) {
    expect(resources.trainableBytes, method).toBe(4 * trainableParameters);
    expect(resources.checkpointBytes, method).toBeGreaterThan(
      resources.adapterBytes + resources.optimizerBytes,
    );
  }
  const frozen = (name: string) => costs.find((c) => c.method === name)?.resources.frozenBytes as number;
  expect(frozen("full")).toBe(0);
  expect(frozen("lora")).toBe(frozen("dora"));
  expect(frozen("vera")).toBeGreaterThan(frozen("lora")); // its projections
  const [both] = await methodCosts(tinyModel("llama"), { rank: 4 }, ["lora+ia3"]);
  const count = (name: string) => costs.find((c) => c.method === name)?.trainableParameters as number;
  expect(both?.trainableParameters).toBe(count("lora") + count("ia3"));
});

test("of an encoder, with its head, the methods that can train it", async () => {
  const costs = await methodCosts(encoderFolder("bert-masked"), { rank: 4 });
  const names = costs.map((c) => c.method);
  expect(names).toEqual(expect.arrayContaining(["lora", "dora", "full"]));
  expect(names).not.toContain("prefix-embedding");
  const [lora] = costs.filter((c) => c.method === "lora");
  const { hidden_size: d, num_hidden_layers: layers } = JSON.parse(
    await readFile(join(encoderFolder("bert-masked"), "config.json"), "utf8"),
  );
  // Query and value of every layer, the pooler that the checkpoint lacks, and a head of two labels.
  expect(lora?.trainableParameters).toBe(layers * 2 * 4 * (d + d) + (d * d + d) + (2 * d + 2));
  await expect(methodCosts(encoderFolder("bert-masked"), {}, ["prefix-embedding"])).rejects.toThrow(
    /an encoder's first token/,
  );
});
