import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { NotFoundError } from "../errors.ts";
import { writeFileAtomic } from "../formats/disk.ts";
import { isObject } from "../formats/json.ts";
import { openRegular } from "../io/regular-file.ts";
import type { EvaluationEvent, SamplesEvent, StepEvent } from "./events.ts";

/** The file in a run folder that holds one JSON line per step, evaluation and set of samples. */
export const METRICS_FILE = "metrics.jsonl";

/** What the log keeps: these are the events themselves. */
export type MetricsEvent = StepEvent | EvaluationEvent | SamplesEvent;

export interface MetricsLog {
  /** Adds one line. */
  append(event: MetricsEvent): Promise<void>;
  close(): Promise<void>;
}

/** Opens a run's log. Without `resumeStep` it starts empty; with it, a half-written last line and every line about
 *  a later step are removed first, in one atomic replacement. */
export async function openMetricsLog(
  runFolder: string,
  options: { readonly resumeStep?: number | null } = {},
): Promise<MetricsLog> {
  const path = join(runFolder, METRICS_FILE);
  const step = options.resumeStep ?? null;
  const kept = step === null ? [] : (await readMetrics(runFolder)).filter((event) => event.step <= step);
  await writeFileAtomic(path, kept.map(line).join(""));
  return appender(await open(path, "a"));
}

function appender(file: FileHandle): MetricsLog {
  let isOpen = true;
  return {
    append: async (event) => {
      await file.appendFile(line(event));
    },
    close: async () => {
      if (isOpen) await file.close();
      isOpen = false;
    },
  };
}

function line(event: MetricsEvent): string {
  return `${JSON.stringify(event)}\n`;
}

/** A run's log; empty where there is none. Where a step was logged twice (the run was killed between evaluation and
 *  checkpoint), the later line counts. Lines that are not complete JSON, or no events, are left out: only a
 *  killed writer makes them. */
export async function readMetrics(runFolder: string): Promise<readonly MetricsEvent[]> {
  const byIdentity = new Map<string, MetricsEvent>();
  const file = await openRegular(join(runFolder, METRICS_FILE)).catch((error) => {
    if (error instanceof NotFoundError) return null;
    throw error;
  });
  // Line by line: a log may be larger than a string.
  if (file !== null)
    for await (const text of createInterface({ input: file.createReadStream(), crlfDelay: Infinity }))
      for (const event of parseLine(text)) byIdentity.set(identity(event), event);
  return [...byIdentity.values()];
}

function identity(event: MetricsEvent): string {
  if (event.type === "evaluation") return `evaluation ${event.split} ${event.step}`;
  return event.type === "samples" ? `samples ${event.when}` : `step ${event.step}`;
}

/** Numbers that a line of each type has. */
const NUMBERS: Readonly<Record<string, readonly string[]>> = {
  step: [
    "step",
    "steps",
    "epoch",
    "loss",
    "learningRate",
    "gradNorm",
    "labelTokens",
    "trieTokens",
    "examples",
  ],
  evaluation: ["step", "loss", "labelTokens", "elapsedMs"],
  samples: ["step"],
};

function isEvent(value: unknown): boolean {
  if (!isObject(value) || typeof value.type !== "string" || !Object.hasOwn(NUMBERS, value.type)) return false;
  const hasNumbers = NUMBERS[value.type]?.every((key) => typeof value[key] === "number");
  const hasSamples =
    value.type !== "samples" || (Array.isArray(value.samples) && value.samples.every(isObject));
  return hasNumbers === true && hasSamples;
}

function parseLine(text: string): MetricsEvent[] {
  try {
    const event: unknown = JSON.parse(text);
    return isEvent(event) ? [event as MetricsEvent] : [];
  } catch {
    return [];
  }
}
