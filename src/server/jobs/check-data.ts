import { basename } from "node:path";
import { subset } from "../../data/indexed.ts";
import type { Dataset } from "../../data/read-dataset.ts";
import type { Rows } from "../../data/rows.ts";
import { openSpill } from "../../data/spill.ts";
import { InputError, LowrankError, type Problem } from "../../errors.ts";
import { cacheFolder } from "../../io/cache-folder.ts";
import type { BaseModel } from "../../models/base.ts";
import type { TrainConfig } from "../../train/config/config.ts";
import { memoryLimits } from "../../train/machine.ts";
import { planRun } from "../../train/plan.ts";
import { readData } from "../../train/read-data.ts";
import { refusal } from "../body.ts";
import { type FileFault, type FileFaults, HttpError } from "../errors.ts";

/** As OpenAI asks for. */
const MIN_EXAMPLES = 10;

/** OpenAI's names for what is wrong with an example, by what the readers say of it. */
const KINDS: readonly (readonly [RegExp, string])[] = [
  [/not valid JSON|not valid UTF-8/, "invalid_json"],
  [/expected a JSON object/, "data_type"],
  [/cannot tell the data format|^no field "(messages|conversations?)"/, "missing_messages_list"],
  [/has no assistant turn/, "example_missing_assistant_message"],
  [/no "(role|from)"/, "message_missing_key"],
  [/unknown "(role|from)"/, "unrecognized_role"],
  [/no "content"|"content": expected|turn is empty/, "missing_content"],
];

const JSONL = "Expected file to have JSONL format, where every line is a valid JSON dictionary. ";

/** What jobs are planned for. */
export interface JobGround {
  /** The base as it is served. */
  readonly base: BaseModel;
  /** Memory that a job may take. */
  readonly limitBytes: number;
}

/** Rows that a job is planned with before it is made: the run itself plans with all. */
const PLANNED_ROWS = 256;
const MOST_LABELLED = 2000;
/** Characters: answers wait for as long as tokens are made of them. */
const MOST_TEXT = 2 ** 21;

/** Reads a job's files as its run will, and plans with a part of them.
 *  @throws HttpError 400 with OpenAI's codes and line numbers, for options that do not fit the model, and for a job that takes more
 *  memory than it may */
export async function checkJob(
  config: TrainConfig,
  { base, limitBytes }: JobGround,
  signal: AbortSignal,
): Promise<void> {
  const spill = openSpill(cacheFolder());
  try {
    const dataset = await readData(config, config, { offline: true, spill, signal });
    requireExamples(dataset);
    const part = plannedPart(dataset, base);
    if (part !== null)
      await planRun(config, base, part, {
        spill,
        signal,
        ...memoryLimits(config, config.device, { limitBytes }),
      }).catch((error) => {
        throw planError(error, config);
      });
  } catch (error) {
    if (error instanceof InputError) throw dataError(error, config);
    if (!(error instanceof LowrankError) || error instanceof HttpError) throw error;
    const message = withoutFolder(error.message, config);
    throw fileError("training_file", message, wholeFile(message));
  } finally {
    spill.close();
  }
}

/** Of what is wrong with the options, where it is not the rows that an InputError names. */
function planError(error: unknown, config: TrainConfig): unknown {
  if (!(error instanceof LowrankError) || error instanceof InputError) return error;
  return new HttpError(400, error.code, withoutFolder(error.message, config), { cause: error });
}

/** What a job is planned with before it is made; null where that would take long: the run plans with everything, and says then what is
 *  wrong. */
function plannedPart(dataset: Dataset, { config }: BaseModel): Dataset | null {
  const { train, validation, test } = dataset;
  const splits = { train, validation, test };
  // Which classes there are is said by all rows together.
  if (config.encoder && Object.values(splits).some(({ length }) => length > MOST_LABELLED)) return null;
  const some = config.encoder ? (rows: Rows): Rows => rows : spread;
  const part = { train: some(train), validation: some(validation), test: some(test) };
  let size = 0;
  for (const rows of Object.values(part))
    for (const { row } of rows) {
      size += JSON.stringify(row).length;
      if (size > MOST_TEXT) return null;
    }
  return { ...dataset, ...part };
}

/** Some rows, from all over. */
function spread(rows: Rows): Rows {
  const count = Math.min(PLANNED_ROWS, rows.length);
  return subset(
    rows,
    Int32Array.from({ length: count }, (_, i) => Math.floor((i * rows.length) / count)),
  );
}

function requireExamples({ train }: Dataset): void {
  const { length } = train;
  if (length >= MIN_EXAMPLES) return;
  const message = `Training file has ${length} example(s), but must have at least ${MIN_EXAMPLES} examples`;
  throw new HttpError(400, "invalid_n_examples", message, {
    param: "training_file",
    faults: wholeFile(message),
  });
}

function wholeFile(message: string): FileFaults {
  return { first: [{ where: "file", code: null, message }], leftOut: 0 };
}

type FileParam = "training_file" | "validation_file";

function fileError(param: FileParam, message: string, faults: FileFaults): HttpError {
  return new HttpError(400, `invalid_${param}`, message, { param, faults });
}

function dataError(error: InputError, config: TrainConfig): HttpError {
  const paths: readonly (readonly [FileParam, string])[] = [
    ["training_file", config.data[0] ?? ""],
    ["validation_file", config.validationData?.[0] ?? ""],
  ];
  const paramOf = ({ where }: Problem): FileParam | undefined =>
    paths.find(([, path]) => path !== "" && where.startsWith(path))?.[0];
  const first = error.problems.map(paramOf).find((param) => param !== undefined);
  // An option of the data, not the data.
  if (first === undefined)
    return refusal(error.problems.map(({ where, message }) => ({ where: `lowrank.${where}`, message })));
  const path = paths.find(([param]) => param === first)?.[1] ?? "";
  const faults = error.problems
    .filter((problem) => paramOf(problem) === first)
    .map((problem) => faultOf(problem, path));
  const leftOut = error.count - faults.length;
  const lines = [...faults.map(faultText), ...(leftOut > 0 ? [`and ${leftOut} more`] : [])];
  const isJson = error.problems.every(({ message }) => /not valid JSON|expected a JSON object/.test(message));
  const text = `Invalid file format. ${isJson ? JSONL : ""}${lines.join("; ")}`;
  return fileError(first, text, { first: faults, leftOut });
}

function faultOf({ where, message }: Problem, path: string): FileFault {
  const place = where.slice(path.length).replace(/^:/, "line ").trim() || "file";
  const code = KINDS.find(([pattern]) => pattern.test(message))?.[1] ?? null;
  return { where: place, code, message };
}

/** "line 3 (unrecognized_role): …" */
function faultText({ where, code, message }: FileFault): string {
  return `${where}${code === null ? "" : ` (${code})`}: ${message}`;
}

/** Where files lie on the server is nobody's business. */
function withoutFolder(message: string, { data, validationData }: TrainConfig): string {
  return [...data, ...(validationData ?? [])].reduce(
    (text, path) => text.replaceAll(path, basename(path)),
    message,
  );
}
