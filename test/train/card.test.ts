import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { openBase } from "../../src/models/base-model.ts";
import { combineFolders } from "../../src/peft/combine/folders.ts";
import { openAdapter } from "../../src/peft/files/adapter.ts";
import { convertAdapter } from "../../src/peft/files/convert.ts";
import { mergeAdapter } from "../../src/peft/merge/merge.ts";
import { writeRunCard } from "../../src/train/card.ts";
import { trainConfig } from "../../src/train/config/config.ts";
import type { PlanEvent } from "../../src/train/events.ts";
import { memoryLimits } from "../../src/train/machine.ts";
import { planRun } from "../../src/train/plan.ts";
import { readData } from "../../src/train/read-data.ts";
import { eventsOf, type Lab, openLab, runAll, statefulRun, tinyModel } from "./tiny-run.ts";

let lab: Lab;
let adapter: string;
let events: Awaited<ReturnType<typeof runAll>>;
beforeAll(async () => {
  lab = openLab();
  events = await runAll(statefulRun(lab, "run"));
  adapter = lab.path("run/adapter");
});
afterAll(() => lab.remove());

const cardOf = async (folder: string): Promise<{ yaml: Record<string, unknown>; body: string }> => {
  const text = await readFile(join(folder, "README.md"), "utf8");
  const [, yaml, body] = /^---\n([\s\S]+?)---\n([\s\S]+)$/.exec(text) ?? [];
  return { yaml: parse(yaml as string), body: body as string };
};

/** Nothing in a card may lead to where this machine keeps its files. */
function expectNoPaths(body: string): void {
  expect(body).not.toContain(lab.folder);
  expect(body).not.toContain(process.cwd());
}

describe("the card of a run", () => {
  test("says method, data, hyperparameters, losses and use, without paths", async () => {
    const { yaml, body } = await cardOf(adapter);
    expect(yaml).toEqual({
      library_name: "peft",
      pipeline_tag: "text-generation",
      tags: ["lora", "lowrank"],
    });
    const [done] = eventsOf(events, "done");
    const [plan] = eventsOf(events, "plan");
    expect(body).toContain("# llama: lora for data\n");
    expect(body).toContain(`| test loss before | ${done?.lossBefore?.toFixed(4)} nats per token |`);
    expect(body).toContain(`| test loss after | ${done?.lossAfter?.toFixed(4)} nats per token |`);
    expect(body).toContain(`| trainable parameters | ${plan?.trainableParameters.toLocaleString("en-US")} (`);
    expect(body).toContain(`| steps | 9; kept: that of step ${done?.bestStep} |`);
    expect(body).toContain(`| training rows | 22 (`);
    expect(body).toContain("| rank | 4 |\n| alpha | 32 |\n| dropout | 0.2 |\n| targetModules | all-linear |");
    expect(body).toContain("| learningRate | 0.02 |\n| schedule | cosine |\n| warmupSteps | 2 |");
    expect(body).toContain("AutoPeftModelForCausalLM");
    expectNoPaths(body);
  });

  test("names data sets and base models that are on the Hub; a combination is not PEFT's", async () => {
    const config = trainConfig({
      ...{ model: tinyModel("llama"), data: [lab.data], method: "prefix-layer+lora", maxLength: 60 },
      ...{ name: "Mine: a | b", rank: 8 },
    });
    const base = await openBase(config.model, { offline: true });
    const named = { ...base, source: { ...base.source, name: "smollm2-135m" } };
    const dataset = { ...(await readData(config, config)), hubIds: ["org/rows"], name: "org/rows" };
    const plan = await planRun(config, named, dataset, {
      memory: memoryLimits({ deviceMemory: null }, "cpu", {}).memory,
    });
    const folder = await mkdtemp(join(tmpdir(), "lowrank-card-"));
    const outcome = { steps: 3, bestStep: null, lossBefore: null, lossAfter: null };
    const planned = {
      labels: null,
      lossUnit: "nats per token",
      ...{ trainableParameters: 1, share: 0.5, totalParameters: 2, examples: 1 },
      ...{ validationExamples: 0, testExamples: 0, truncated: 0, dropped: 0 },
    } as PlanEvent;
    await writeRunCard(folder, { config, plan, planned, outcome });
    const { yaml, body } = await cardOf(folder);
    await rm(folder, { recursive: true });
    expect(yaml).toEqual({
      base_model: "HuggingFaceTB/SmolLM2-135M-Instruct",
      base_model_relation: "adapter",
      datasets: ["org/rows"],
      library_name: "lowrank",
      pipeline_tag: "text-generation",
      tags: ["base_model:adapter:HuggingFaceTB/SmolLM2-135M-Instruct", "lora", "lowrank", "prefix-layer"],
    });
    expect(body).toContain("# Mine: a | b\n");
    expect(body).toContain("[HuggingFaceTB/SmolLM2-135M-Instruct](https://huggingface.co/");
    expect(body).not.toContain("AutoPeft");
    expect(body).not.toContain("loss before");
  });

  test("is no part of the adapter: it is read back with it and without it", async () => {
    const base = await openBase(tinyModel("llama"), { offline: true });
    const before = (await openAdapter(adapter, base)).theta;
    const card = await readFile(join(adapter, "README.md"));
    await rm(join(adapter, "README.md"));
    expect((await openAdapter(adapter, base)).theta).toEqual(before);
    await writeFile(join(adapter, "README.md"), card);
  });
});

describe("cards of what is made from adapters", () => {
  const model = tinyModel("llama");

  test("convert: that of the format; a GGUF file has none", async () => {
    await convertAdapter({
      adapter: lab.path("run"),
      to: "mlx",
      output: lab.path("mlx"),
      model,
      offline: true,
    });
    const { yaml, body } = await cardOf(lab.path("mlx"));
    expect(yaml.library_name).toBe("mlx");
    expect(body).toContain("LoRA of 14 modules, rank 4, converted from run by lowrank.");
    expect(body).toContain("mlx_lm.generate");
    expectNoPaths(body);
  });

  test("combine: the parts and their factors, in a new folder", async () => {
    const output = lab.path("both");
    await combineFolders({ [lab.path("run")]: 0.5, [adapter]: 0.25 }, output, { kind: "cat" });
    const { body } = await cardOf(output);
    expect(body).toContain("LoRA of rank 8, combined by lowrank (cat).");
    expect(body).toContain("| run | 0.5 |\n| run | 0.25 |");
    expectNoPaths(body);
    const again = combineFolders({ [output]: 1 }, output, { kind: "linear" });
    await expect(again).rejects.toThrow("holds 3 entries already, expected a new or empty folder");
  });

  test("merge: a model of its own", async () => {
    const output = lab.path("merged");
    await mergeAdapter({ model, adapter, output, offline: true, dtype: "bfloat16" });
    const { yaml, body } = await cardOf(output);
    expect(yaml).toMatchObject({ library_name: "transformers", tags: ["lora", "lowrank"] });
    expect(body).toContain("# llama, merged with run\n");
    expect(body).toContain("folded into 14 of its weights by lowrank, as bfloat16");
    expectNoPaths(body);
  });
});
