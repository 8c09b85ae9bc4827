import { cp, mkdir, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LowrankError } from "../../src/errors.ts";
import {
  checkpointPath,
  loadCheckpoint,
  newestCheckpoint,
  pruneCheckpoints,
  saveCheckpoint,
} from "../../src/train/checkpoint.ts";
import type { TrainEvent } from "../../src/train/events.ts";
import { adapterHashes, eventsOf, openLab, runAll, runUntil, statefulRun } from "./tiny-run.ts";

const lab = openLab();
afterAll(lab.remove);

const state = {
  theta: Float32Array.of(1, 2, 3),
  m: Float32Array.of(0.1, 0.2, 0.3),
  v: Float32Array.of(4, 5, 6),
};
const identity = { model: "m", data: "d", adapter: "a" };

function content(step: number, bestStep: number | null = null) {
  const progression = {
    ...{ step, bestStep, bestLoss: bestStep === null ? null : 1.25, staleEvaluations: 0 },
    ...{ evaluatedStep: null, lossBefore: 3.5, elapsedMs: 12.5 },
  };
  return { progression, state, identity };
}

async function save(folder: string, step: number): Promise<string> {
  return saveCheckpoint(folder, content(step), (dir) => writeFile(join(dir, "adapter.txt"), `step ${step}`));
}

async function flipByte(path: string, at: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[at % bytes.length] = (bytes[at % bytes.length] as number) ^ 1;
  await writeFile(path, bytes);
}

const names = (folder: string): Promise<string[]> => readdir(join(folder, "checkpoints"));

describe("checkpoints on disk", () => {
  test("what was saved is loaded, bit for bit", async () => {
    const path = await save(lab.path("saved"), 12);
    expect(path).toBe(checkpointPath(lab.path("saved"), 12));
    expect(await loadCheckpoint(path)).toEqual({ path, ...content(12) });
    expect(await names(lab.path("saved"))).toEqual(["step-0000012"]);
  });

  test("every byte of the state file counts", async () => {
    const path = await save(lab.path("bytes"), 3);
    const file = join(path, "trainer_state.json");
    const whole = await readFile(file);
    const unnoticed: string[] = [];
    for (let i = 0; i < whole.length; i++) {
      await flipByte(file, i);
      await loadCheckpoint(path).then(
        () => unnoticed.push(String.fromCharCode(whole[i] as number)),
        (error) => expect(error).toBeInstanceOf(LowrankError),
      );
      await writeFile(file, whole);
    }
    expect(unnoticed.filter((byte) => !/\s/.test(byte))).toEqual([]); // JSON may be laid out in any way
  });

  test("a checkpoint under another step's name is damaged", async () => {
    const folder = lab.path("renamed");
    await cp(await save(folder, 3), checkpointPath(folder, 4), { recursive: true });
    const { checkpoint, damaged } = await newestCheckpoint(folder);
    expect(checkpoint?.progression.step).toBe(3);
    expect(damaged).toEqual([`${checkpointPath(folder, 4)}: trainer_state.json is damaged`]);
  });

  test("a failed writer leaves the checkpoint of that step and no other trace", async () => {
    const folder = lab.path("failing");
    const path = await save(folder, 5);
    const before = await loadCheckpoint(path);
    const full = Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
    const failing = saveCheckpoint(folder, content(5), async (dir) => {
      await writeFile(join(dir, "adapter.txt"), "half");
      throw full;
    });
    await expect(failing).rejects.toThrow(`cannot write ${path}: no space left on the disk`);
    expect(await names(folder)).toEqual(["step-0000005"]);
    expect(await loadCheckpoint(path)).toEqual(before);
  });

  test("the same step again replaces what is there", async () => {
    const folder = lab.path("twice");
    await save(folder, 5);
    const path = await saveCheckpoint(folder, content(5, 5), async () => undefined);
    expect((await loadCheckpoint(path)).progression.bestStep).toBe(5);
    expect(await names(folder)).toEqual(["step-0000005"]);
  });

  test("the newest are kept and the best; damaged ones after the newest do not count", async () => {
    const folder = lab.path("pruned");
    for (const step of [1, 2, 3, 4, 5, 6]) await save(folder, step);
    await mkdir(join(folder, "checkpoints", ".step-0000007.1.partial"));
    await pruneCheckpoints(folder, { step: 5, keep: 2, bestStep: 2 });
    expect(await names(folder)).toEqual(["step-0000002", "step-0000004", "step-0000005"]);
  });
});

describe("resuming from damaged checkpoints", () => {
  beforeAll(async () => {
    await runAll({ ...statefulRun(lab, "whole"), checkpointEvery: 2 });
    await runUntil(
      { ...statefulRun(lab, "cut"), checkpointEvery: 2 },
      (e) => e.type === "step" && e.step === 7,
    );
  });

  /** A copy of the run that was stopped after step 7 with checkpoints 6 and 7, and perhaps an older best one. */
  async function copyOf(name: string): Promise<string> {
    await cp(lab.path("cut"), lab.path(name), { recursive: true });
    return lab.path(name);
  }

  async function expectWhole(folder: string, events: TrainEvent[]): Promise<void> {
    expect(events.at(-1)).toMatchObject({ type: "done", steps: 9 });
    expect(await adapterHashes(folder)).toEqual(await adapterHashes(lab.path("whole")));
    expect((await names(folder)).filter((n) => n.endsWith(".partial"))).toEqual([]);
  }

  const warnings = (events: TrainEvent[]): string[] => eventsOf(events, "warning").map((w) => w.message);

  const files = [
    "optimizer.safetensors",
    "adapter_model.safetensors",
    "adapter_config.json",
    "trainer_state.json",
  ];
  test.each([
    ["truncated", files[0], (path: string) => truncate(path, 500), "damaged"],
    ["emptied", files[3], (path: string) => truncate(path, 0), "damaged"],
    ["flipped", files[0], (path: string) => flipByte(path, 4321), "damaged"],
    ["flipped", files[1], (path: string) => flipByte(path, 77), "damaged"],
    ["flipped", files[2], (path: string) => flipByte(path, 99), "damaged"],
    ["missing", files[0], (path: string) => rm(path), "missing"],
    ["missing", files[1], (path: string) => rm(path), "missing"],
    ["missing", files[3], (path: string) => rm(path), "missing"],
  ])("%s %s in the newest: the one before, with a warning", async (how, file = "", damage, word) => {
    const folder = await copyOf(`${how}-${file}`);
    await damage(join(checkpointPath(folder, 7), file));
    const events = await runAll({ resume: folder });
    expect(warnings(events)).toEqual([
      `checkpoint passed over: ${checkpointPath(folder, 7)}: ${file} is ${word}`,
    ]);
    expect(eventsOf(events, "resumed")).toMatchObject([{ step: 6 }]);
    await expectWhole(folder, events);
  });

  test("all damaged: starts over with a warning", async () => {
    const folder = await copyOf("all");
    for (const name of await names(folder))
      await flipByte(join(folder, "checkpoints", name, files[0] as string), 5000);
    const events = await runAll({ resume: folder });
    expect(warnings(events).length).toBe((await names(lab.path("cut"))).length + 1);
    expect(warnings(events).at(-1)).toBe("no checkpoint can be used: the run starts over");
    expect(eventsOf(events, "step")[0]?.step).toBe(1);
    await expectWhole(folder, events);
  });

  test("what a killed writer left is passed over and removed", async () => {
    const folder = await copyOf("left");
    const left = join(folder, "checkpoints", ".step-0000008.99999.partial");
    await cp(checkpointPath(folder, 7), left, { recursive: true });
    const events = await runAll({ resume: folder });
    expect(eventsOf(events, "resumed")).toMatchObject([{ step: 7 }]);
    await expectWhole(folder, events);
  });

  test("a damaged best checkpoint: the last adapter, with a warning", async () => {
    const folder = await copyOf("best");
    const { progression } = await loadCheckpoint(checkpointPath(folder, 7));
    const best = progression.bestStep as number;
    expect(best).toBeLessThan(7);
    // The evaluation of step 8 would be a better one: not asked for.
    await flipByte(join(checkpointPath(folder, best), "optimizer.safetensors"), 4000);
    const events = await runAll({ resume: folder, evalEvery: 100 });
    expect(warnings(events)).toEqual([
      expect.stringMatching(/^the best checkpoint cannot be used.*is damaged$/),
    ]);
    expect(events.at(-1)).toMatchObject({ type: "done", steps: 9, bestStep: null });
  });

  test("other data, or options edited by hand, are refused; another model is warned of", async () => {
    const folder = await copyOf("changed");
    const config = JSON.parse(await readFile(join(folder, "run.json"), "utf8"));
    const edit = (values: object) =>
      writeFile(join(folder, "run.json"), JSON.stringify({ ...config, ...values }));
    await edit({ rank: 2 });
    await expect(runAll({ resume: folder })).rejects.toThrow("adapter of other shapes");
    await edit({ limit: 21 });
    await expect(runAll({ resume: folder })).rejects.toThrow("the training data give other examples");
    await cp(config.model, lab.path("model"), { recursive: true });
    const modelConfig = lab.path("model/config.json");
    const json = JSON.parse(await readFile(modelConfig, "utf8"));
    await writeFile(modelConfig, JSON.stringify({ ...json, note: "another" }));
    await edit({ model: lab.path("model") });
    const events = await runAll({ resume: folder });
    expect(warnings(events)).toEqual([expect.stringContaining("the model's files are not those")]);
    expect(events.at(-1)?.type).toBe("done");
  });
});
