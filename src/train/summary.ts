import { join } from "node:path";
import { z } from "zod";
import { FormatError } from "../errors.ts";
import { readBytesIfThere, writeFileAtomic } from "../io/disk.ts";
import { parseJsonObject } from "../io/json.ts";
import type { DoneEvent, PlanEvent } from "./events.ts";

/** The file in a run folder that says what the run was to cost and what came of it. */
export const SUMMARY_FILE = "summary.json";

/** The first and the last event of a finished run. */
export interface RunSummary {
  readonly plan: PlanEvent;
  readonly done: DoneEvent;
}

const bytes = z.number().nonnegative();

/** What is read of a summary; the rest is for people. */
const schema = z.looseObject({
  plan: z.looseObject({
    resources: z.looseObject({
      ...{ frozenBytes: bytes, trainableBytes: bytes, gradientBytes: bytes, optimizerBytes: bytes },
      ...{ workingBytes: bytes, memoryBytes: bytes, adapterBytes: bytes, checkpointBytes: bytes },
    }),
  }),
  done: z.looseObject({
    measured: z.looseObject({ peakMemoryBytes: bytes, adapterBytes: bytes, checkpointBytes: bytes }),
  }),
});

/** Writes a finished run's summary, whole or not at all. */
export async function saveSummary(runFolder: string, summary: RunSummary): Promise<void> {
  await writeFileAtomic(join(runFolder, SUMMARY_FILE), `${JSON.stringify(summary, null, 2)}\n`);
}

/** A run's summary; null where the run is not finished. @throws FormatError if the file is damaged */
export async function readSummary(runFolder: string): Promise<RunSummary | null> {
  const path = join(runFolder, SUMMARY_FILE);
  const bytes = await readBytesIfThere(path);
  if (bytes === null) return null;
  const summary = parseJsonObject(bytes, path);
  const checked = schema.safeParse(summary);
  if (checked.success) return summary as unknown as RunSummary;
  const [issue] = checked.error.issues;
  throw new FormatError(path, `is damaged (${issue?.path.join(".")}: ${issue?.message})`, {
    cause: checked.error,
  });
}
