import { Readable } from "node:stream";
import { type Options, parse } from "csv-parse";
import type { DataRecord } from "../formats/format.ts";
import type { ReadContext, RecordReader, SourceRecord } from "../records.ts";
import { readLines } from "./lines.ts";

interface CsvRow {
  readonly record: DataRecord;
  /** `lines`: the line the record ends on. */
  readonly info: { readonly lines: number };
}

/** The library's errors name the line at fault. */
interface LineError extends Error {
  readonly code: string;
  readonly lines?: number;
}

/** Comma- or tab-separated values with a header line; every value is text. Line ends are read as LF, inside quoted
 *  fields too. */
export function readCsv(delimiter: string): RecordReader {
  return async function* read(file: string, context: ReadContext): AsyncGenerator<SourceRecord> {
    const parser = parse(csvOptions(delimiter, file, context));
    const source = Readable.from(numberedLines(file, context));
    source.on("error", (error) => parser.destroy(error));
    source.pipe(parser);
    try {
      for await (const { record, info } of parser as AsyncIterable<CsvRow>)
        yield { record, where: { file, line: info.lines - newlinesIn(record), unit: "line" } };
    } catch (error) {
      if (!isLineError(error)) throw error;
      context.problems.add(`${file}:${error.lines ?? 1}`, describe(error));
    } finally {
      source.destroy();
    }
  };
}

function csvOptions(delimiter: string, file: string, context: ReadContext): Options {
  return {
    columns: checkedHeader,
    delimiter,
    info: true,
    max_record_size: context.maxLineBytes,
    record_delimiter: "\n",
    relax_quotes: delimiter === "\t", // quotes in TSV are mostly plain characters
    skip_empty_lines: true,
    skip_records_with_error: true,
    on_skip: (error) => {
      if (!isLineError(error)) return;
      if (error.code === "CSV_MAX_RECORD_SIZE") throw error; // the parser is lost after it
      context.problems.add(`${file}:${error.lines ?? 1}`, describe(error));
    },
  };
}

function checkedHeader(names: string[]): string[] {
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice === undefined) return names;
  const code = "CSV_HEADER";
  throw Object.assign(new Error(`the header names "${twice}" twice`), { code, lines: 1 });
}

/** The file's lines; an empty one for each that was refused, so that the parser counts lines as the file does. */
async function* numberedLines(file: string, context: ReadContext): AsyncGenerator<string> {
  let next = 1;
  for await (const { text, line } of readLines(file, context)) {
    yield `${"\n".repeat(line - next)}${text}\n`;
    next = line + 1;
  }
}

function newlinesIn(record: DataRecord): number {
  return Object.values(record).reduce<number>((n, value) => n + String(value).split("\n").length - 1, 0);
}

function isLineError(error: unknown): error is LineError {
  return error instanceof Error && /^(CSV|INVALID)_/.test(String((error as LineError).code));
}

function describe(error: Error): string {
  return `not valid CSV: ${error.message}`;
}
