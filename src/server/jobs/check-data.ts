import { basename } from "node:path";
import type { Dataset } from "../../data/dataset.ts";
import { openSpill } from "../../data/spill.ts";
import { InputError, LowrankError, type Problem } from "../../errors.ts";
import { cacheFolder } from "../../io/cache-folder.ts";
import type { TrainConfig } from "../../train/config/config.ts";
import { readData } from "../../train/data.ts";
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

/** Reads a job's files as its run will. Returns how many examples there are. @throws HttpError 400 with OpenAI's codes and line numbers */
export async function checkData(config: TrainConfig, signal: AbortSignal): Promise<number> {
  const spill = openSpill(cacheFolder());
  try {
    const dataset = await readData(config, config, { offline: true, spill, signal });
    return enoughExamples(dataset);
  } catch (error) {
    if (error instanceof InputError) throw dataError(error, config);
    if (!(error instanceof LowrankError) || error instanceof HttpError) throw error;
    const message = withoutFolder(error.message, config);
    throw fileError("training_file", message, wholeFile(message));
  } finally {
    spill.close();
  }
}

function enoughExamples({ train }: Dataset): number {
  const { length } = train;
  if (length >= MIN_EXAMPLES) return length;
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
  const leftOut = error.count - error.problems.length;
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
