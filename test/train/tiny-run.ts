import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TrainOptions } from "../../src/train/config/config.ts";
import type { StoppedEvent, TrainEvent } from "../../src/train/events.ts";
import { readMetrics } from "../../src/train/metrics-log.ts";
import { type TrainRunOptions, train } from "../../src/train/trainer.ts";
import { optionsFor } from "./options-for.ts";

/** A model of test/fixtures/models by name. */
export function tinyModel(name: string): string {
  return fileURLToPath(new URL(`../fixtures/models/${name}`, import.meta.url));
}

/** A folder for one test file's runs and data. The model cache lies in it too. */
export interface Lab {
  readonly folder: string;
  /** Training, validation and test rows: prompts and completions of different lengths. */
  readonly data: string;
  readonly validation: string;
  readonly test: string;
  path(name: string): string;
  remove(): void;
}

/** Rows of a prompt and a completion each; lengths differ, and prompts share their beginnings. */
export function rowsText(count: number, from: number): string {
  const row = (i: number): string => {
    const completion = `ls ${"-la ".repeat(i % 4)}f${i}`;
    return JSON.stringify({ prompt: `list the ${i % 3 === 0 ? "files" : "line"} ${i}`, completion });
  };
  return Array.from({ length: count }, (_, i) => `${row(from + i)}\n`).join("");
}

/** Opens a lab. Sets LOWRANK_CACHE for this process and its children. */
export function openLab(): Lab {
  const folder = mkdtempSync(join(tmpdir(), "lowrank-lab-"));
  const path = (name: string): string => join(folder, name);
  process.env.LOWRANK_CACHE = path("cache");
  const lab = { folder, data: path("data.jsonl"), validation: path("val.jsonl"), test: path("test.jsonl") };
  writeFileSync(lab.data, rowsText(22, 0));
  writeFileSync(lab.validation, rowsText(5, 100));
  writeFileSync(lab.test, rowsText(4, 200));
  return { ...lab, path, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Options of a run with everything that has state: dropout, accumulation with a partial last window, warm-up and cosine,
 *  validation with a best checkpoint. 22 examples in 3-example micro-batches, 2 to an update: 4 updates per epoch, the last
 *  of 4 examples; 9 updates. */
export function statefulRun(lab: Lab, output: string): TrainOptions {
  return {
    model: tinyModel("llama"),
    data: [lab.data],
    validationData: [lab.validation],
    testData: [lab.test],
    output: lab.path(output),
    rank: 4,
    dropout: 0.2,
    batchSize: 3,
    accumulation: 2,
    maxSteps: 9,
    learningRate: 0.02,
    schedule: "cosine",
    warmupSteps: 2,
    weightDecay: 0.01,
    evalEvery: 2,
    checkpointEvery: 3,
    maxLength: 128,
    samples: 1,
    threads: 2,
    offline: true,
  };
}

/** Runs to the end; `onEvent` sees every event. */
export async function runAll(
  options: TrainOptions,
  { onEvent, ...how }: TrainRunOptions & { onEvent?: (event: TrainEvent) => void } = {},
): Promise<TrainEvent[]> {
  const events: TrainEvent[] = [];
  for await (const event of train(
    options.method === undefined ? options : optionsFor(options.method, options),
    how,
  )) {
    events.push(event);
    onEvent?.(event);
  }
  return events;
}

/** Runs until the first event that `when` accepts, aborts there as Ctrl-C does, and returns what came. */
export async function runUntil(
  options: TrainOptions,
  when: (event: TrainEvent) => boolean,
  how: TrainRunOptions = {},
): Promise<TrainEvent[]> {
  const controller = new AbortController();
  return runAll(options, {
    ...how,
    signal: controller.signal,
    onEvent: (event) => {
      if (when(event)) controller.abort();
    },
  });
}

type EventOf<T extends TrainEvent["type"]> = Extract<TrainEvent, { type: T }>;

/** Events of one type. */
export function eventsOf<T extends TrainEvent["type"]>(events: readonly TrainEvent[], type: T): EventOf<T>[] {
  return events.filter((event): event is EventOf<T> => event.type === type);
}

/** The `stopped` event that must be the last. */
export function stoppedOf(events: readonly TrainEvent[]): StoppedEvent {
  const last = events.at(-1);
  if (last?.type !== "stopped") throw new Error(`the run ended with ${last?.type}`);
  return last;
}

/** sha256 of every file of a finished run's adapter, by name. */
export async function adapterHashes(runFolder: string): Promise<Record<string, string>> {
  return folderHashes(join(runFolder, "adapter"));
}

/** sha256 of every file in a folder, by name. */
export async function folderHashes(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder)).sort();
  const entries = names.map(async (name) => {
    const bytes = await readFile(join(folder, name));
    return [name, createHash("sha256").update(bytes).digest("hex")] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

/** A run's measures without times, which no two runs share. */
export async function measures(runFolder: string): Promise<unknown[]> {
  const isTime = (key: string): boolean => /Ms$|PerSecond$/.test(key);
  return (await readMetrics(runFolder)).map((event) =>
    Object.fromEntries(Object.entries(event).filter(([key]) => !isTime(key))),
  );
}
