import { existsSync, writeFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { InputError, NetworkError, TrainingError, UnsupportedError } from "../../src/errors.ts";
import { checkpointPath, loadCheckpoint } from "../../src/train/checkpoint.ts";
import type { TrainEvent } from "../../src/train/events.ts";
import { type FakeHub, startHub } from "../hub/server.ts";
import {
  eventsOf,
  openLab,
  rowsText,
  runAll,
  runUntil,
  statefulRun,
  stoppedOf,
  tinyModel,
} from "./tiny-run.ts";

const lab = openLab();
afterAll(lab.remove);

/** The error that ends a run, and the events before it. */
async function failure(
  options: Parameters<typeof runAll>[0],
): Promise<{ error: Error; events: TrainEvent[] }> {
  const events: TrainEvent[] = [];
  const error = await runAll(options, { onEvent: (event) => events.push(event) }).then(
    () => null,
    (e: Error) => e,
  );
  if (error === null) throw new Error("the run did not fail");
  return { error, events };
}

describe("a loss or an update that is not a number", () => {
  // The first update of the warm-up has rate 0, the second half of the peak.
  const plain = {
    dropout: 0,
    evalEvery: null,
    samples: 0,
    checkpointEvery: 1,
    schedule: "constant",
  } as const;

  test.each([
    // θ after the first update with a rate is about 10²⁹: refused, because its squares overflow.
    ["update", { learningRate: 1e29 }, 2, /^step 2: the update is not finite: the loss is \d/],
    // θ of 10¹² is still a number; the logits that it gives are not.
    ["loss", { learningRate: 1e12, clipNorm: null }, 3, /^step 3: the loss is (NaN|Infinity) and/],
  ])(
    "%s: stops, names the step and its examples, keeps the last good checkpoint",
    async (name, options, step, message) => {
      const run = { ...statefulRun(lab, name), ...plain, ...options, warmupSteps: 2, maxSteps: 9 };
      const { error, events } = await failure(run);
      expect(error).toBeInstanceOf(TrainingError);
      expect(error.message).toMatch(message);
      expect(error.message).toContain(`the checkpoint of step ${step - 1} is kept`);
      const places = error.message.split("\n").slice(1);
      const [before] = eventsOf(events, "step").slice(-1);
      expect(before?.step).toBe(step - 1);
      expect(places.length).toBe(6);
      for (const place of places) expect(place).toMatch(new RegExp(`^ {2}${lab.data}:\\d+$`));
      expect(new Set(places).size).toBe(places.length);
      const kept = await loadCheckpoint(checkpointPath(lab.path(name), step - 1));
      for (const vector of Object.values(kept.state)) expect(vector.every(Number.isFinite)).toBe(true);
      // Nothing is random about it: going on fails at the same place.
      expect((await failure({ resume: lab.path(name) })).error.message).toBe(error.message);
    },
  );
});

describe("an adapter that no gradient reaches", () => {
  // One token to see: attention has nothing to choose from, so query and key have no gradient.
  const rows = (): string => {
    const file = lab.path("letters.jsonl");
    writeFileSync(file, [..."abcdefgh"].map((letter) => `${JSON.stringify({ text: letter })}\n`).join(""));
    return file;
  };
  const options = (name: string, targetModules: string[]) => ({
    ...{ model: tinyModel("llama"), data: [rows()], output: lab.path(name), targetModules },
    ...{
      warmupSteps: 2,
      batchSize: 4,
      maxSteps: 4,
      learningRate: 0.01,
      samples: 0,
      offline: true,
      maxLength: 8,
    },
  });

  test("none moves: an error after the first update that has a rate", async () => {
    const { error, events } = await failure(options("still", ["q_proj", "k_proj"]));
    expect(error).toBeInstanceOf(TrainingError);
    expect(error.message).toBe("after the first update no adapter has moved: no gradient reaches it");
    expect(eventsOf(events, "step").map((s) => s.learningRate)).toEqual([0, 0.005]);
  });

  test("some do not: a warning that names them", async () => {
    const events = await runAll(options("partly", ["q_proj", "v_proj"]));
    expect(eventsOf(events, "warning").map((w) => w.message)).toEqual([
      "after the first update these adapters have not moved: model.layers.0.self_attn.q_proj, model.layers.1.self_attn.q_proj",
    ]);
    expect(events.at(-1)?.type).toBe("done");
  });

  test("all do: no warning", async () => {
    const events = await runAll(options("moving", ["v_proj", "o_proj", "down_proj"]));
    expect(eventsOf(events, "warning")).toEqual([]);
  });
});

describe("before anything is made", () => {
  let hub: FakeHub;
  beforeAll(async () => {
    hub = await startHub();
    for (const [name, value] of Object.entries({
      HF_ENDPOINT: hub.url,
      HF_HUB_CACHE: lab.path("hub"),
      HF_TOKEN: "",
    }))
      vi.stubEnv(name, value);
    vi.stubEnv("HF_HUB_OFFLINE", "");
    const content = async (path: string) => ({ content: await readFile(path) });
    const files = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"];
    const entries = files.map(async (f) => [f, await content(join(tinyModel("llama"), f))] as const);
    hub.repos.set("model:tiny/llama", Object.fromEntries(await Promise.all(entries)));
    hub.repos.set("dataset:tiny/rows", { "train.jsonl": { content: Buffer.from(rowsText(8, 0)) } });
  });
  beforeEach(() => hub.requests.splice(0));
  afterAll(async () => {
    vi.unstubAllEnvs();
    await hub.close();
  });

  test("bad data: no folder, and the network is not touched", async () => {
    writeFileSync(lab.path("bad.jsonl"), `${rowsText(3, 0)}{"prompt": "x"}\n{broken\n`);
    const options = {
      ...statefulRun(lab, "bad"),
      data: [lab.path("bad.jsonl")],
      output: lab.path("none/bad"),
      model: "nobody/nothing",
      offline: false,
    };
    const { error, events } = await failure(options);
    expect(error).toBeInstanceOf(InputError);
    expect(error.message).toContain(`${lab.path("bad.jsonl")}:4`);
    expect(error.message).toContain(`${lab.path("bad.jsonl")}:5`);
    expect(events).toEqual([]);
    expect(hub.requests).toEqual([]);
    expect(existsSync(lab.path("none"))).toBe(false);
    // The same with good data does ask for the model, and leaves no folder either.
    const missing = await failure({ ...options, data: [lab.data] });
    expect(missing.error.message).toContain("nobody/nothing");
    expect(hub.requests.length).toBeGreaterThan(0);
    expect(existsSync(options.output as string)).toBe(false);
  });

  test("offline holds for data of the Hub too", async () => {
    const { error } = await failure({ ...statefulRun(lab, "offline"), data: ["tiny/rows"], offline: true });
    expect(error).toBeInstanceOf(NetworkError);
    expect(hub.requests).toEqual([]);
  });

  test("a dry run plans, and writes nothing", async () => {
    const before = (await readdir(lab.folder)).sort();
    const events = await runAll({ ...statefulRun(lab, "dry"), dryRun: true });
    expect(events.map((e) => e.type).filter((type) => type !== "progress")).toEqual(["plan", "preview"]);
    expect(eventsOf(events, "plan")[0]).toMatchObject({ steps: 9, examples: 22, runFolder: lab.path("dry") });
    expect((await readdir(lab.folder)).filter((name) => name !== "cache").sort()).toEqual(
      before.filter((name) => name !== "cache"),
    );
  });

  const cacheFiles = async (folder: string): Promise<string[]> =>
    (await readdir(lab.path(folder), { recursive: true, withFileTypes: true }).catch(() => []))
      .filter((entry) => entry.isFile())
      .map((entry) => entry.name);

  test("an abort while data are fetched: stopped, nothing made", async () => {
    const options = { ...statefulRun(lab, "fetching-data"), data: ["tiny/rows"], offline: false };
    const events = await runUntil(options, (e) => e.type === "progress");
    expect(stoppedOf(events)).toMatchObject({ step: 0, resumeHint: null });
    expect(existsSync(lab.path("fetching-data"))).toBe(false);
    expect(await cacheFiles("hub")).not.toContain("train.jsonl");
  });

  test("an abort while the model is fetched: stopped, and resumed to the end", async () => {
    const options = { ...statefulRun(lab, "fetching"), model: "tiny/llama", offline: false };
    const events = await runUntil(options, (e) => e.type === "progress");
    expect(stoppedOf(events)).toEqual({
      ...{ type: "stopped", reason: "interrupt", step: 0 },
      resumeHint: `lowrank train --resume ${lab.path("fetching")}`,
    });
    expect(await readdir(lab.path("fetching"))).toEqual(["run.json"]);
    expect((await runAll({ resume: lab.path("fetching") })).at(-1)).toMatchObject({ type: "done", steps: 9 });
  });

  test("an abort while weights are converted: stopped, no half of them, and resumed to the end", async () => {
    vi.stubEnv("LOWRANK_CACHE", lab.path("cold"));
    const converting = (e: TrainEvent): boolean => e.type === "progress" && e.what === "converting weights";
    const events = await runUntil(statefulRun(lab, "converting"), converting);
    expect(stoppedOf(events).resumeHint).toContain(lab.path("converting"));
    expect(eventsOf(events, "plan")).toEqual([]);
    expect(await cacheFiles("cold/weights")).toEqual([]);
    expect((await runAll({ resume: lab.path("converting") })).at(-1)?.type).toBe("done");
  });

  test("an abort of a dry run: stopped", async () => {
    vi.stubEnv("LOWRANK_CACHE", lab.path("colder"));
    const events = await runUntil({ ...statefulRun(lab, "dry"), dryRun: true }, (e) => e.type === "progress");
    expect(stoppedOf(events)).toMatchObject({ step: 0, resumeHint: null });
  });
});

test("of a device without tests a run says so, once, whether it is there or not", async () => {
  const { train } = await import("../../src/train/trainer.ts");
  const said: string[] = [];
  try {
    for await (const event of train({ ...statefulRun(lab, "untested"), dryRun: true, device: "cuda" }))
      if (event.type === "warning") said.push(event.message);
  } catch (error) {
    expect(error).toBeInstanceOf(UnsupportedError);
  }
  expect(said.filter((message) => message.startsWith('device "cuda" is not tested'))).toHaveLength(1);
});

test("a caller that stops listening ends the run and frees the folder", async () => {
  const { train } = await import("../../src/train/trainer.ts");
  for await (const event of train(statefulRun(lab, "left")))
    if (event.type === "step" && event.step === 5) break;
  expect((await readdir(lab.path("left"))).filter((name) => name.startsWith("lock"))).toEqual([]);
  const events = await runAll({ resume: lab.path("left") });
  expect(eventsOf(events, "resumed")[0]?.step).toBeGreaterThanOrEqual(3);
  expect(events.at(-1)?.type).toBe("done");
});
