import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type DatasetRow, loadDataset } from "lowrank";
import { addressOf } from "./store.ts";

/** Something to learn, with rows to learn it from. */
export interface PaperTask {
  readonly name: string;
  /** What it stands for in the paper. */
  readonly summary: string;
  /** A bundled name or files, as `lowrank train --data` takes it. */
  readonly data: string | readonly string[];
  /** Its score, by whole answers. */
  readonly score: "exactMatch" | "bleu";
}

/** The tasks of the paper in small; the first stands for all where one is enough. */
export const TASKS: readonly PaperTask[] = [
  { name: "sql", summary: "WikiSQL, the paper's own task", data: "wikisql", score: "exactMatch" },
  { name: "facts", summary: "facts to text (DART), for E2E, WebNLG and DART", data: "dart", score: "bleu" },
];

/** Files with the rows of a task: a validation split that chooses, a test split that is touched once per cell. */
export interface TaskFiles {
  readonly train: string;
  readonly validation: string;
  readonly test: string;
  /** Of the rows. */
  readonly digest: string;
}

/** Share of the training rows that choose learning rates, where the data have no validation rows of their own. */
const VALIDATION_SHARE = 0.1;

/** Writes a task's rows as chat rows below a folder. @throws InputError for data that cannot be read, or are not prompts with answers */
export async function prepareTask(task: PaperTask, folder: string): Promise<TaskFiles> {
  const source = typeof task.data === "string" ? [task.data] : task.data;
  const { train, validation, test } = await loadDataset({ source });
  const lines = (rows: Iterable<DatasetRow>): string[] =>
    Array.from(rows, ({ row }) =>
      row.kind === "conversation" ? JSON.stringify({ messages: row.messages }) : "",
    ).filter((line) => line !== "");
  const all = lines(train);
  const held = Math.max(1, Math.round(all.length * VALIDATION_SHARE));
  const own = lines(validation);
  const splits = {
    train: own.length > 0 ? all : all.slice(held),
    validation: own.length > 0 ? own : all.slice(0, held),
    test: test.length > 0 ? lines(test) : all.slice(0, held),
  };
  const digest = addressOf(splits);
  const home = join(folder, "data", `${task.name}-${digest.slice(0, 8)}`);
  await mkdir(home, { recursive: true });
  const write = async (name: string, rows: readonly string[]): Promise<string> => {
    const path = join(home, `${name}.jsonl`);
    await writeFile(`${path}.partial`, `${rows.join("\n")}\n`);
    await rename(`${path}.partial`, path);
    return path;
  };
  return {
    train: await write("train", splits.train),
    validation: await write("validation", splits.validation),
    test: await write("test", splits.test),
    digest,
  };
}
