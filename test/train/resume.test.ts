import { afterAll, expect, test } from "vitest";
import { checkpointPath, loadCheckpoint } from "../../src/train/checkpoint.ts";
import type { TrainEvent } from "../../src/train/events.ts";
import {
  adapterHashes,
  eventsOf,
  measures,
  openLab,
  runAll,
  runUntil,
  statefulRun,
  stoppedOf,
} from "./tiny-run.ts";

const lab = openLab();
afterAll(lab.remove);

const atStep =
  (step: number) =>
  (event: TrainEvent): boolean =>
    event.type === "step" && event.step === step;

let whole: Promise<TrainEvent[]> | undefined;
/** The uninterrupted run that the others are compared with. */
function wholeRun(): Promise<TrainEvent[]> {
  whole ??= runAll(statefulRun(lab, "whole"));
  return whole;
}

async function expectSameAsWhole(folder: string): Promise<void> {
  await wholeRun();
  expect(await adapterHashes(lab.path(folder))).toEqual(await adapterHashes(lab.path("whole")));
  expect(await measures(lab.path(folder))).toEqual(await measures(lab.path("whole")));
}

test("the run that the others repeat has everything that has state", async () => {
  const events = await wholeRun();
  const steps = eventsOf(events, "step");
  expect(steps.map((s) => s.examples)).toEqual([6, 6, 6, 4, 6, 6, 6, 4, 6]);
  expect(new Set(steps.map((s) => s.labelTokens)).size).toBeGreaterThan(2);
  expect(new Set(steps.map((s) => s.learningRate)).size).toBe(9);
  const evaluations = eventsOf(events, "evaluation").filter((e) => e.split === "validation");
  expect(evaluations.slice(0, 5).map((e) => e.step)).toEqual([0, 2, 4, 6, 8]);
  expect(events.at(-1)).toMatchObject({ type: "done", steps: 9 });
});

test("two runs with one seed are bit-equal; another seed is another run", async () => {
  await runAll(statefulRun(lab, "again"));
  await expectSameAsWhole("again");
  await runAll({ ...statefulRun(lab, "seeded"), seed: 1 });
  const [seeded, first] = [await adapterHashes(lab.path("seeded")), await adapterHashes(lab.path("whole"))];
  expect(seeded["adapter_config.json"]).toBe(first["adapter_config.json"]);
  expect(seeded["adapter_model.safetensors"]).not.toBe(first["adapter_model.safetensors"]);
});

test("an abort finishes the step, writes a checkpoint and says how to resume; resumed twice, the run is the same", async () => {
  const folder = lab.path("cut in two");
  const first = await runUntil(statefulRun(lab, "cut in two"), atStep(4));
  expect(first.slice(-2)).toMatchObject([
    { type: "checkpoint", step: 4 },
    { type: "stopped", reason: "interrupt", step: 4, resumeHint: `lowrank train --resume '${folder}'` },
  ]);
  const second = await runUntil({ resume: folder }, atStep(7));
  expect(eventsOf(second, "resumed")).toMatchObject([{ step: 4 }]);
  expect(eventsOf(second, "step")[0]?.step).toBe(5);
  // Step 4 is one with an evaluation, which the abort left out.
  expect(eventsOf(second, "evaluation")[0]).toMatchObject({ split: "validation", step: 4 });
  expect(stoppedOf(second).step).toBe(7);
  const third = await runAll({ resume: folder });
  expect(third.at(-1)).toMatchObject({ type: "done", steps: 9 });
  await expectSameAsWhole("cut in two");
});

test.each([
  ["the first evaluation", (e: TrainEvent) => e.type === "preview", 0],
  ["the samples before", (e: TrainEvent) => e.type === "evaluation" && e.split === "test", 0],
  ["the first step", (e: TrainEvent) => e.type === "samples", 0],
  ["an evaluation between steps", atStep(6), 6],
  ["the evaluation after", (e: TrainEvent) => e.type === "checkpoint" && e.step === 9, 9],
  [
    "the test evaluation after",
    (e: TrainEvent) => e.type === "evaluation" && e.step > 0 && e.split === "test",
    9,
  ],
])("aborted before %s", async (what, when, step) => {
  const name = what.replaceAll(" ", "-");
  const stopped = stoppedOf(await runUntil(statefulRun(lab, name), when));
  expect(stopped).toMatchObject({ reason: "interrupt", step });
  expect(stopped.resumeHint).toContain(lab.path(name));
  expect((await runAll({ resume: lab.path(name) })).at(-1)).toMatchObject({ type: "done", steps: 9 });
  await expectSameAsWhole(name);
});

test("with the data on disk, a run is the same, and so is one that is resumed", async () => {
  const memoryBytes = 200; // a few rows
  await runAll(statefulRun(lab, "on disk"), { memoryBytes });
  await expectSameAsWhole("on disk");
  await runUntil(statefulRun(lab, "cut, on disk"), atStep(4), { memoryBytes });
  const rest = await runAll({ resume: lab.path("cut, on disk") }, { memoryBytes });
  expect(eventsOf(rest, "resumed")).toMatchObject([{ step: 4 }]);
  await expectSameAsWhole("cut, on disk");
});

test("aborted before it starts: nothing is made, nothing to resume", async () => {
  const events = await runAll(statefulRun(lab, "never"), { signal: AbortSignal.abort() });
  expect(events).toEqual([{ type: "stopped", reason: "interrupt", step: 0, resumeHint: null }]);
});

test("a finished run, resumed, ends the same again", async () => {
  await wholeRun();
  const before = await measures(lab.path("whole"));
  const again = await runAll({ resume: lab.path("whole") });
  expect(eventsOf(again, "step")).toEqual([]);
  expect(again.at(-1)?.type).toBe("done");
  expect(await measures(lab.path("whole"))).toEqual(before);
});

test("the optimizer says what it keeps: sgd with momentum resumes the same, and without keeps nothing", async () => {
  const sgd = (output: string, momentum = 0.9) => ({
    ...{ ...statefulRun(lab, output), optimizer: "sgd", momentum, learningRate: 0.5 },
  });
  const events = await runAll(sgd("sgd"));
  const [done] = eventsOf(events, "done");
  expect(done?.lossAfter as number).toBeLessThan(done?.lossBefore as number);
  await runUntil(sgd("sgd cut"), atStep(4));
  await runAll({ resume: lab.path("sgd cut") });
  expect(await adapterHashes(lab.path("sgd cut"))).toEqual(await adapterHashes(lab.path("sgd")));
  const [plan] = eventsOf(events, "plan");
  expect(plan?.resources.optimizerBytes).toBe(plan?.resources.gradientBytes);
  const [plain] = eventsOf(await runAll(sgd("plain sgd", 0)), "plan");
  expect(plain?.resources.optimizerBytes).toBe(0);
  const { state } = await loadCheckpoint(checkpointPath(lab.path("plain sgd"), 9));
  expect(Object.keys(state)).toEqual(["theta"]);
});
