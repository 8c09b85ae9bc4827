import { LowrankError, NotFoundError } from "../errors.ts";
import { badRows, type OnBadRow } from "./bad-rows.ts";
import { type NoteList, noteList } from "./notes.ts";
import { GivenUp, type ProblemList } from "./problems.ts";
import { readCsv } from "./readers/csv.ts";
import { readJson } from "./readers/json.ts";
import { readJsonLines } from "./readers/jsonl.ts";
import { readParquet } from "./readers/parquet.ts";
import { readText } from "./readers/text.ts";
import type { ReadContext, RecordFiles, RecordReader, SourceRecord } from "./record.ts";

export interface ReadOptions {
  /** Where files are opened. */
  readonly files: RecordFiles;
  /** Longest line or record accepted, in bytes; default 64 MiB. Longer ones are reported, and never held in memory. */
  readonly maxLineBytes?: number | undefined;
  /** What one record of a .txt file is: the file, a paragraph (blank lines between), or a line. Default file. */
  readonly textUnit?: "file" | "paragraph" | "line" | undefined;
  /** What becomes of records that cannot be read; see `badRows`. */
  readonly onBadRow?: OnBadRow | null | undefined;
  /** Told of bytes as they are read, of formats that are read in lines. */
  readonly onBytes?: ((count: number) => void) | undefined;
}

/** After so many faulty records a file is given up: it is not what its name says. */
const MAX_FAULTS = 1000;

const READERS: ReadonlyMap<string, RecordReader> = new Map([
  [".jsonl", readJsonLines],
  [".ndjson", readJsonLines],
  [".json", readJson],
  [".csv", readCsv(",")],
  [".tsv", readCsv("\t")],
  [".parquet", readParquet],
  [".txt", readText],
]);

const DEFAULT_MAX_LINE_BYTES = 64 * 1024 * 1024;

/** File extensions that can be read, with the dot. */
export const dataExtensions: readonly string[] = [...READERS.keys()];

/** Streams the records of files in order. What is wrong (bad JSON, not an object, invalid UTF-8, a line too long, an
 *  empty or unreadable file, an unknown extension) is collected in `problems` with file and line, and reading goes on. */
export async function* readRecords(
  files: readonly string[],
  problems: ProblemList,
  options: ReadOptions,
  notes: NoteList = noteList(),
): AsyncGenerator<SourceRecord> {
  const rows = badRows(options.onBadRow ?? null, problems, notes);
  const context: ReadContext = {
    files: options.files,
    problems,
    notes,
    maxLineBytes: options.maxLineBytes ?? DEFAULT_MAX_LINE_BYTES,
    textUnit: options.textUnit ?? "file",
    onBytes: options.onBytes ?? (() => undefined),
    bad: (where, message) => {
      const { report, settle } = rows(where);
      report(message);
      settle();
      if (problems.count >= MAX_FAULTS) throw new GivenUp();
    },
  };
  for (const file of files) yield* readFileRecords(file, context);
}

async function* readFileRecords(file: string, context: ReadContext): AsyncGenerator<SourceRecord> {
  const reader = READERS.get(extensionOf(file));
  if (reader === undefined) {
    context.problems.add(file, `unknown kind of file; known: ${dataExtensions.join(", ")}`);
    return;
  }
  const fault = await fileFault(file, context);
  if (fault !== null) {
    context.problems.add(file, fault);
    return;
  }
  const before = context.problems.count;
  let records = 0;
  try {
    for await (const record of reader(file, context)) {
      records++;
      yield record;
    }
  } catch (error) {
    if (error instanceof GivenUp) context.problems.add(file, `not read further after ${MAX_FAULTS} faults`);
    else if (!isFileError(error)) throw error;
    else context.problems.add(file, `cannot be read: ${withoutPlace(error, file)}`);
  }
  if (records === 0 && context.problems.count === before) context.problems.add(file, "holds no records");
}

/** What there is against a file that is there, without its path; null for nothing. */
async function fileFault(file: string, { files }: ReadContext): Promise<string | null> {
  try {
    await (await files.open(file)).close();
    return null;
  } catch (error) {
    if (error instanceof NotFoundError) return null;
    return withoutPlace(error as Error, file);
  }
}

function withoutPlace({ message }: Error, file: string): string {
  return message.startsWith(`${file}: `) ? message.slice(file.length + 2) : message;
}

/** The extension of a file's name, with the dot, in lower case; "" for none. */
export function extensionOf(file: string): string {
  return /[^/\\](\.[^./\\]*)$/.exec(file)?.[1]?.toLowerCase() ?? "";
}

/** Errors of files say so, and those of the operating system carry a code such as ENOENT; anything else is a defect and must surface. */
function isFileError(error: unknown): error is Error {
  if (error instanceof LowrankError) return error.code === "not_found" || error.code === "format";
  return error instanceof Error && "code" in error && "syscall" in error;
}
