import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { NotFoundError } from "../errors.ts";
import { writeFileAtomic } from "../io/disk.ts";
import { isObject } from "../io/json.ts";
import { openRegular } from "../io/regular-file.ts";
import type { EvaluationEvent, ExactMatch, ExactMatchChange, SamplesEvent, StepEvent } from "./events.ts";

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
    for await (const text of objectLines(file.createReadStream()))
      for (const event of parseLine(text)) byIdentity.set(identity(event), event);
  return [...byIdentity.values()];
}

const [NEWLINE, BRACE] = [0x0a, 0x7b];

/** Bytes that a line of a log may have; a longer one is no event of ours. */
const MAX_LINE_BYTES = 64 * 2 ** 20;

/** The lines that begin like an object. Others are passed over as bytes: a damaged log may hold millions of them. */
async function* objectLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let parts: Buffer[] = []; // of a line whose end has not come yet
  let length = 0;
  const take = (end: Buffer): string | null => {
    const isObjectLine =
      (parts[0]?.length ? parts[0] : end)[0] === BRACE && length + end.length <= MAX_LINE_BYTES;
    const text = isObjectLine ? Buffer.concat([...parts, end]).toString("utf8") : null;
    [parts, length] = [[], 0];
    return text;
  };
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      const isPassedOver = length === 0 && chunk[start] !== BRACE;
      const text = isPassedOver ? null : take(chunk.subarray(start, end));
      if (text !== null) yield text;
      start = end + 1;
    }
    if (start === chunk.length) continue;
    if (length <= MAX_LINE_BYTES) parts.push(chunk.subarray(start));
    length += chunk.length - start;
  }
  const text = take(Buffer.alloc(0));
  if (text !== null) yield text;
}

function identity(event: MetricsEvent): string {
  if (event.type === "evaluation") return `evaluation ${event.split} ${event.step}`;
  if (event.type !== "samples") return `step ${event.step}`;
  return event.when === "during" ? `samples ${event.step}` : `samples ${event.when}`;
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

/** Exact match before and after a run, from its log; null where it was not measured at both ends. */
export async function exactMatchChange(runFolder: string): Promise<ExactMatchChange | null> {
  const events = (await readMetrics(runFolder)).flatMap((e) => (e.type === "samples" ? [e] : []));
  const of = (when: string): ExactMatch | undefined => events.findLast((e) => e.when === when)?.exactMatch;
  const [before, after] = [of("before"), of("after")];
  return before && after ? { before: before.share, after: after.share, prompts: after.prompts } : null;
}
