import { writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { afterAll, expect, test } from "vitest";
import { checkpointPath, loadCheckpoint } from "../../src/train/checkpoint.ts";
import type { TrainOptions } from "../../src/train/config/config.ts";
import {
  adapterHashes,
  eventsOf,
  folderHashes,
  measures,
  openLab,
  rowsText,
  runAll,
  runUntil,
  statefulRun,
} from "./tiny-run.ts";

const lab = openLab();
afterAll(lab.remove);

/** A rate so high that the validation loss soon rises again. */
function rising(output: string): TrainOptions {
  const length = { maxSteps: 40, evalEvery: 1, earlyStopping: 3, checkpointEvery: 4, keepCheckpoints: 1 };
  return { ...statefulRun(lab, output), ...length, learningRate: 0.3, schedule: "constant", warmupSteps: 0 };
}

test("early stopping ends the run, and the best checkpoint is what is exported", async () => {
  const events = await runAll(rising("early"));
  const [stopped] = eventsOf(events, "stopped");
  expect(stopped).toMatchObject({ reason: "early-stopping", resumeHint: null });
  const validation = eventsOf(events, "evaluation").filter((e) => e.split === "validation");
  const midway = validation.filter((e) => e.step > 0).slice(0, -1);
  const lowest = Math.min(...midway.map((e) => e.loss));
  const best = midway.find((e) => e.loss === lowest)?.step as number;
  expect(stopped?.step).toBe(best + 3);
  expect(stopped?.step).toBeLessThan(40);
  expect(midway.filter((e) => e.isBest).at(-1)?.step).toBe(best);
  expect(events.at(-1)).toMatchObject({ type: "done", bestStep: best, steps: best + 3 });
  // The evaluation after training is of the best: its number is the same, and it is reported under its step.
  expect(validation.at(-1)).toMatchObject({ step: best, loss: lowest });
  const folder = lab.path("early");
  const atBest = await folderHashes(checkpointPath(folder, best));
  const exported = await adapterHashes(folder);
  expect(exported["adapter_model.safetensors"]).toBe(atBest["adapter_model.safetensors"]);
  const last = await folderHashes(checkpointPath(folder, best + 3));
  expect(exported["adapter_model.safetensors"]).not.toBe(last["adapter_model.safetensors"]);
  expect((await loadCheckpoint(checkpointPath(folder, best + 3))).progression).toMatchObject({
    bestStep: best,
    bestLoss: lowest,
  });
  expect((await readdir(`${folder}/checkpoints`)).length).toBe(2); // the best and the last
});

test("a run that was stopped early stays stopped when it is resumed", async () => {
  await runUntil(rising("resumed"), (e) => e.type === "stopped");
  const events = await runAll({ resume: lab.path("resumed") });
  expect(eventsOf(events, "step")).toEqual([]);
  expect(eventsOf(events, "stopped")).toMatchObject([{ reason: "early-stopping" }]);
  expect(await adapterHashes(lab.path("resumed"))).toEqual(await adapterHashes(lab.path("early")));
  expect(await measures(lab.path("resumed"))).toEqual(await measures(lab.path("early")));
});

test("without a validation split, the test split is evaluated between steps and chooses nothing", async () => {
  const { validationData: _none, ...options } = { ...rising("untold"), earlyStopping: null, maxSteps: 6 };
  const events = await runAll({ ...options, keepCheckpoints: 3, checkpointEvery: 1 });
  const evaluations = eventsOf(events, "evaluation");
  expect(evaluations.map((e) => [e.split, e.step])).toEqual(
    [0, 1, 2, 3, 4, 5, 6, 6].map((step) => ["test", step]),
  );
  expect(evaluations.every((e) => !e.isBest)).toBe(true);
  expect(events.at(-1)).toMatchObject({ type: "done", bestStep: null });
  const folder = lab.path("untold");
  const names = await readdir(`${folder}/checkpoints`);
  expect(names).toEqual(["step-0000004", "step-0000005", "step-0000006"]);
  const last = await folderHashes(checkpointPath(folder, 6));
  expect((await adapterHashes(folder))["adapter_model.safetensors"]).toBe(last["adapter_model.safetensors"]);
});

test("without anything held out there is nothing to evaluate", async () => {
  const { validationData: _v, testData: _t, ...options } = { ...statefulRun(lab, "blind"), maxSteps: 2 };
  const events = await runAll(options);
  expect(eventsOf(events, "evaluation")).toEqual([]);
  expect(eventsOf(events, "samples")).toEqual([]);
  expect(events.at(-1)).toMatchObject({ type: "done", lossBefore: null, lossAfter: null });
});

test("training lowers the loss on held-out rows", async () => {
  writeFileSync(lab.path("more.jsonl"), rowsText(60, 0));
  const longer = { data: [lab.path("more.jsonl")], dropout: 0, maxSteps: 60, evalEvery: null };
  const [done] = eventsOf(await runAll({ ...statefulRun(lab, "learning"), ...longer }), "done");
  expect(done?.lossAfter).toBeLessThan(0.7 * (done?.lossBefore as number));
});
