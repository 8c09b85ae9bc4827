import { join } from "node:path";
import { readBytesIfThere, writeFileAtomic } from "../formats/disk.ts";
import { parseJsonObject } from "../formats/json.ts";
import type { DoneEvent, PlanEvent } from "./events.ts";

/** The file in a run folder that says what the run was to cost and what came of it. */
export const SUMMARY_FILE = "summary.json";

/** The first and the last event of a finished run. */
export interface RunSummary {
  readonly plan: PlanEvent;
  readonly done: DoneEvent;
}

/** Writes a finished run's summary, whole or not at all. */
export async function saveSummary(runFolder: string, summary: RunSummary): Promise<void> {
  await writeFileAtomic(join(runFolder, SUMMARY_FILE), `${JSON.stringify(summary, null, 2)}\n`);
}

/** A run's summary; null where the run is not finished. @throws FormatError if the file is damaged */
export async function readSummary(runFolder: string): Promise<RunSummary | null> {
  const path = join(runFolder, SUMMARY_FILE);
  const bytes = await readBytesIfThere(path);
  return bytes === null ? null : (parseJsonObject(bytes, path) as unknown as RunSummary);
}
