import { writeFileAtomic } from "../../io/disk.ts";
import { type MetricsEvent, readMetrics } from "../../train/metrics-log.ts";
import type { DataFolder } from "./data-folder.ts";
import type { NewFile } from "./file-store.ts";
import { newId } from "./paging.ts";

export const RESULTS_PURPOSE = "fine-tune-results";

/** OpenAI's names of what is measured, in their order. Training steps measure no accuracy. */
const COLUMNS = ["train_loss", "valid_loss", "valid_mean_token_accuracy", "valid_accuracy"] as const;

type Measured = Partial<Record<(typeof COLUMNS)[number], number>>;

function measuredBy(event: MetricsEvent): Measured {
  if (event.type === "step") return { train_loss: event.loss };
  if (event.type !== "evaluation" || event.split !== "validation") return {};
  return {
    valid_loss: event.loss,
    ...(event.tokenAccuracy === undefined ? {} : { valid_mean_token_accuracy: event.tokenAccuracy }),
    ...(event.accuracy === undefined ? {} : { valid_accuracy: event.accuracy }),
  };
}

/** What a run has measured, as OpenAI's CSV: a line for each step, and a column for whatever was measured at all. */
export function resultsCsv(events: readonly MetricsEvent[]): string {
  const rows = new Map<number, Measured>();
  for (const event of events) {
    const measured = measuredBy(event);
    if (Object.keys(measured).length > 0) rows.set(event.step, { ...rows.get(event.step), ...measured });
  }
  const sorted = [...rows].sort(([a], [b]) => a - b);
  const columns = COLUMNS.filter((name) => sorted.some(([, row]) => row[name] !== undefined));
  const lines = sorted.map(([step, row]) => [step, ...columns.map((name) => row[name] ?? "")].join(","));
  return [["step", ...columns].join(","), ...lines, ""].join("\n");
}

/** Writes the measures of a job's run as a file, which the database does not know yet. @throws LowrankError ("storage") */
export async function writeResults(jobId: string, folder: DataFolder): Promise<NewFile> {
  const file = {
    id: newId("file"),
    filename: "step_metrics.csv",
    extension: ".csv",
    purpose: RESULTS_PURPOSE,
  };
  const csv = resultsCsv(await readMetrics(folder.runPath(jobId)));
  await writeFileAtomic(folder.filePath(file), csv);
  return { ...file, bytes: Buffer.byteLength(csv) };
}
