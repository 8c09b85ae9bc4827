import { readFile, writeFile } from "node:fs/promises";
import { afterAll, expect, test } from "vitest";
import { loadModel } from "../../src/generate/model.ts";
import { trainConfig } from "../../src/train/config/config.ts";
import type { SamplesEvent } from "../../src/train/events.ts";
import { readMetrics } from "../../src/train/metrics-log.ts";
import { train } from "../../src/train/trainer.ts";
import { adapterHashes, eventsOf, openLab, runAll, runUntil, statefulRun, tinyModel } from "./tiny-run.ts";

const lab = openLab();
afterAll(lab.remove);

const places = (events: readonly SamplesEvent[]): string[] => events.map((e) => `${e.when} ${e.step}`);
const EXPECTED = ["before 0", "during 2", "during 4", "during 6", "during 8", "after 8"];

test("answers during training are told, logged and reported, and change nothing", async () => {
  const plain = { ...statefulRun(lab, "plain"), samples: 2 };
  const watched = { ...plain, output: lab.path("watched"), samplesEvery: 2 };
  await runAll(plain);
  const events = eventsOf(await runAll(watched), "samples");
  // The best checkpoint, of step 8, is what the run ends with.
  expect(places(events).slice(0, -1)).toEqual(EXPECTED.slice(0, -1));
  expect(events.every((e) => e.samples.length === 2)).toBe(true);
  const outputs = (when: string): string[] =>
    events.filter((e) => e.when === when).flatMap((e) => e.samples.map((s) => s.output));
  expect(outputs("during")).not.toEqual(Array(8).fill(outputs("before")[0]));
  const weights = async (name: string): Promise<string | undefined> =>
    (await adapterHashes(lab.path(name)))["adapter_model.safetensors"];
  expect(await weights("watched")).toBe(await weights("plain"));
  const report = await readFile(`${lab.path("watched")}/report.html`, "utf8");
  expect(report).toMatch(/Before<\/th>.*Step 2<\/th>.*Step 8<\/th>.*After<\/th>/s);
});

test("a resumed run has them once", async () => {
  const run = { ...statefulRun(lab, "resumed"), samples: 2, samplesEvery: 2 };
  await runUntil(run, (event) => event.type === "samples" && event.step === 4);
  await runAll({ resume: lab.path("resumed") });
  const logged = (await readMetrics(lab.path("resumed"))).filter((e) => e.type === "samples");
  expect(places(logged).sort()).toEqual([...EXPECTED.slice(0, -1), places(logged).at(-1)].sort());
  const whole = (await readMetrics(lab.path("watched"))).filter((e) => e.type === "samples");
  expect(logged.map((e) => e.samples)).toEqual(whole.map((e) => e.samples));
});

test("a checkpoint that is told of is an adapter to generate with, before training goes on", async () => {
  const run = statefulRun(lab, "asked");
  const steps: number[] = [];
  for await (const event of train(run)) {
    if (event.type === "step") steps.push(event.step);
    if (event.type !== "checkpoint" || steps.length > 3) continue;
    const model = await loadModel({ model: run.model as string, adapter: event.path, offline: true });
    expect(await model.logits([5, 6, 7])).toHaveLength(3);
    await model.close();
  }
  expect(steps).toHaveLength(9);
});

test("without samples there are none to take again", () => {
  expect(() => trainConfig({ samples: 0, samplesEvery: 5 })).toThrow("samplesEvery: needs samples above 0");
});

test("exact match is measured before and after, without samples too, and told at the end", async () => {
  const prompt = (i: number): string => `list the line ${i}`;
  const rows = (from: number, count: number): string =>
    Array.from({ length: count }, (_, i) =>
      JSON.stringify({ prompt: prompt(from + i), completion: "yes" }),
    ).join("\n");
  const [data, testData] = [lab.path("yes.jsonl"), lab.path("yes-test.jsonl")];
  await writeFile(data, rows(0, 24));
  await writeFile(testData, rows(200, 4));
  const run = {
    model: tinyModel("llama"),
    data: [data],
    testData: [testData],
    output: lab.path("yes"),
    rank: 4,
  };
  const length = { maxSteps: 60, learningRate: 0.01, maxLength: 96, offline: true };
  const events = await runAll({ ...run, ...length, samples: 0, scoreAnswers: 3 });
  expect(
    eventsOf(events, "samples").map(({ when, samples, exactMatch }) => [when, samples, exactMatch]),
  ).toEqual([
    ["before", [], { share: 0, prompts: 3 }],
    ["after", [], { share: 1, prompts: 3 }],
  ]);
  expect(eventsOf(events, "done")[0]?.exactMatch).toEqual({ before: 0, after: 1, prompts: 3 });
  const card = await readFile(lab.path("yes/adapter/README.md"), "utf8");
  expect(card).toContain("| exact match after | 100.0% of 3 held-out answers |");
});
