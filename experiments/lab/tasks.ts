import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type DatasetOptions, type DatasetRow, InputError, loadDataset } from "lowrank";
import { addressOf } from "./store.ts";

type FieldName =
  | "promptField"
  | "completionField"
  | "systemField"
  | "promptTemplate"
  | "messagesField"
  | "referencesField";

/** Something to learn, with rows to learn it from. */
export interface PaperTask {
  readonly name: string;
  /** What it stands for in the paper. */
  readonly summary: string;
  /** A bundled name, a folder or files, as `lowrank train --data` takes it. */
  readonly data: string | readonly string[];
  /** Which fields are prompt and answer, where the names do not tell. */
  readonly fields?: Pick<DatasetOptions, FieldName>;
  /** Its score, by whole answers. */
  readonly score: "exactMatch" | "bleu";
}

/** The tasks of the paper in small; the first stands for all where one is enough. */
export const TASKS: readonly PaperTask[] = [
  { name: "sql", summary: "WikiSQL, the paper's own task", data: "wikisql", score: "exactMatch" },
  { name: "facts", summary: "facts to text (DART), for E2E, WebNLG and DART", data: "dart", score: "bleu" },
];

/** Question classes, which understanding stands for: read from a folder, since the licence of the data is not stated. */
export function questionsIn(folder: string): PaperTask {
  return {
    name: "questions",
    summary: "question classes (TREC), for GLUE",
    data: [folder],
    fields: { promptField: "question", completionField: "coarse" },
    score: "exactMatch",
  };
}

/** The field of a task's files with answers that are equally good. */
export const REFERENCES = "references";

/** Files with the rows of a task: a validation split that chooses, a test split that is touched once per cell. */
export interface TaskFiles {
  readonly train: string;
  readonly validation: string;
  readonly test: string;
  /** Splits in which rows have several answers that are equally good. */
  readonly hasReferences: { readonly validation: boolean; readonly test: boolean };
  /** Of the rows. */
  readonly digest: string;
}

/** Share of the training rows that validation and test take each, where the data have no such rows of their own. */
const HELD_SHARE = 0.1;

/** Chat rows of a split; `left` counts those that are no conversation. */
function chatRows(rows: Iterable<DatasetRow>): { readonly lines: string[]; readonly left: number } {
  const all = Array.from(rows, ({ row }) =>
    row.kind === "conversation"
      ? JSON.stringify({ messages: row.messages, [REFERENCES]: row.references })
      : null,
  );
  const lines = all.filter((line) => line !== null);
  return { lines, left: all.length - lines.length };
}

/** Three splits with no row in common: own ones as they are, others every so-and-so-many-th of the training rows, since files are
 *  often sorted. */
export function splitRows(
  train: readonly string[],
  validation: readonly string[],
  test: readonly string[],
): { readonly train: string[]; readonly validation: string[]; readonly test: string[] } {
  const stride = Math.round(1 / HELD_SHARE);
  const takes = (own: readonly string[], phase: number) => (i: number) =>
    own.length === 0 && i % stride === phase;
  const [isValidation, isTest] = [takes(validation, 0), takes(test, 1)];
  return {
    train: train.filter((_, i) => !isValidation(i) && !isTest(i)),
    validation: validation.length > 0 ? [...validation] : train.filter((_, i) => isValidation(i)),
    test: test.length > 0 ? [...test] : train.filter((_, i) => isTest(i)),
  };
}

/** Writes a task's rows as chat rows below a folder. @throws InputError for data that cannot be read, or are not prompts with answers */
export async function prepareTask(task: PaperTask, folder: string): Promise<TaskFiles> {
  const source = typeof task.data === "string" ? [task.data] : task.data;
  const { train, validation, test } = await loadDataset({ source, ...task.fields });
  const [rows, held, tested] = [chatRows(train), chatRows(validation), chatRows(test)];
  const left = rows.left + held.left + tested.left;
  const splits = splitRows(rows.lines, held.lines, tested.lines);
  const shortest = Math.min(splits.train.length, splits.validation.length, splits.test.length);
  if (left > 0 || shortest === 0) {
    const got = `${rows.lines.length + held.lines.length + tested.lines.length}`;
    const others = left > 0 ? ` and ${left} rows of other kinds` : "";
    const message = `expected prompts with answers alone, at least 3 of them, got ${got}${others}`;
    throw new InputError("the data cannot be used", [{ where: source.join(", "), message }]);
  }
  const digest = addressOf(splits);
  const home = join(folder, "data", `${task.name}-${digest.slice(0, 8)}`);
  await mkdir(home, { recursive: true });
  const write = async (name: string, rows: readonly string[]): Promise<string> => {
    const path = join(home, `${name}.jsonl`);
    await writeFile(`${path}.${process.pid}.partial`, `${rows.join("\n")}\n`);
    await rename(`${path}.${process.pid}.partial`, path);
    return path;
  };
  return {
    train: await write("train", splits.train),
    validation: await write("validation", splits.validation),
    test: await write("test", splits.test),
    hasReferences: { validation: hasReferences(splits.validation), test: hasReferences(splits.test) },
    digest,
  };
}

function hasReferences(lines: readonly string[]): boolean {
  return lines.some((line) => REFERENCES in (JSON.parse(line) as object));
}
