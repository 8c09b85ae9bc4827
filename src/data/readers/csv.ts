import { parse } from "csv-parse/sync";
import type { DataRecord } from "../formats/format.ts";
import type { ReadContext, RecordReader, SourceRecord, Where } from "../records.ts";
import { readLines } from "./lines.ts";

/** The lines of one record, joined: a quoted field may span several. */
interface RawRecord {
  readonly text: string;
  /** Line that it begins on. */
  readonly line: number;
}

/** Comma- or tab-separated values with a header line; every value is text. Line ends are read as LF, inside quoted
 *  fields too. In .csv the separator may also be a semicolon or a tab, as Excel writes it in much of the world: the header says, or a
 *  line "sep=;" in front of it. */
export function readCsv(usual: "," | "\t"): RecordReader {
  return async function* read(file: string, context: ReadContext): AsyncGenerator<SourceRecord> {
    const lines = readLines(file, context);
    const opening = await openTable(lines, usual, file, context);
    if (opening === null) return;
    const { delimiter, header } = opening;
    const at = (line: number): Where => ({ file, line, unit: "line" });
    let names: string[] | null = null;
    for await (const { text, line } of rawRecords(chained(header, lines), delimiter, context, at)) {
      const values = fields(text, delimiter, usual, at(line), context);
      if (values === null) {
        if (names === null) return; // without a header nothing can be named
      } else if (names === null) {
        names = checkedHeader(values, at(line), context);
        if (names === null) return;
      } else if (values.length === names.length) yield { record: recordOf(names, values), where: at(line) };
      else
        context.bad(
          at(line),
          `not valid CSV: expected ${names.length} fields as in the header, got ${values.length}`,
        );
    }
  };
}

interface Line {
  readonly text: string;
  readonly line: number;
}

async function* chained(first: Line, rest: AsyncGenerator<Line>): AsyncGenerator<Line> {
  yield first;
  yield* rest;
}

/** The separator, and the header's first line. */
async function openTable(
  lines: AsyncGenerator<Line>,
  usual: "," | "\t",
  file: string,
  context: ReadContext,
): Promise<{ readonly delimiter: string; readonly header: Line } | null> {
  let given: string | null = null;
  for (;;) {
    const next = await lines.next();
    if (next.done) return null;
    const { text, line } = next.value;
    if (text.trim() === "") continue;
    const stated: string | undefined =
      given === null ? /^"?sep=(.)"?;*,*$/i.exec(text.replace(/\r$/, ""))?.[1] : undefined;
    if (stated !== undefined) {
      given = stated;
      continue;
    }
    const delimiter = given ?? (usual === "\t" ? usual : sniffed(text));
    if (delimiter !== null) return { delimiter, header: next.value };
    context.problems.add(
      `${file}:${line}`,
      'the header has several of , ; and tab, so what separates its fields cannot be told: put a line such as "sep=;" in front of it',
    );
    return null;
  }
}

/** What separates the fields of a header; null where several could. */
function sniffed(header: string): string | null {
  const bare = header.replace(/"(?:[^"]|"")*"/g, "");
  const found = [",", ";", "\t"].filter((candidate) => bare.includes(candidate));
  return found.length > 1 ? null : (found[0] ?? ",");
}

/** Lines joined to records at quotes that are open at their ends. */
async function* rawRecords(
  lines: AsyncGenerator<Line>,
  delimiter: string,
  context: ReadContext,
  at: (line: number) => Where,
): AsyncGenerator<RawRecord> {
  let parts: string[] = [];
  let size = 0;
  let start = 0;
  let isOpen = false;
  for await (const { text, line } of lines) {
    if (parts.length === 0) {
      if (text.trim() === "" && !text.includes(delimiter)) continue;
      start = line;
    }
    parts.push(text);
    size += text.length + 1;
    isOpen = endsQuoted(text, delimiter, isOpen);
    if (size > context.maxLineBytes) {
      context.problems.add(`${at(start).file}:${start}`, unclosed(context.maxLineBytes));
      return;
    }
    if (isOpen) continue;
    yield { text: parts.join("\n"), line: start };
    parts = [];
    size = 0;
  }
  if (isOpen) context.problems.add(`${at(start).file}:${start}`, unclosed(null));
}

function unclosed(limit: number | null): string {
  const until = limit === null ? "to the end of the file" : `within ${limit.toLocaleString("en")} characters`;
  return `not valid CSV: a quote that opens in this record is not closed ${until}`;
}

/** Whether a quoted field is open behind a line; `isOpen`: one was in front of it. */
function endsQuoted(text: string, delimiter: string, isOpen: boolean): boolean {
  let i = 0;
  let quoted = isOpen;
  while (i < text.length || quoted) {
    if (!quoted) {
      if (text[i] !== '"') {
        const next = text.indexOf(delimiter, i);
        if (next < 0) return false;
        i = next + delimiter.length;
        continue;
      }
      i++;
    }
    const close = text.indexOf('"', i);
    if (close < 0) return true;
    i = close + 1;
    quoted = text[i] === '"';
    if (quoted)
      i++; // a quote in the field, written twice
    else {
      const next = text.indexOf(delimiter, i);
      if (next < 0) return false;
      i = next + delimiter.length;
    }
  }
  return false;
}

/** The fields of a record; null where it is not valid, which is noted. */
function fields(
  text: string,
  delimiter: string,
  usual: string,
  where: Where,
  context: ReadContext,
): string[] | null {
  try {
    const [values] = parse(text, {
      delimiter,
      record_delimiter: "\u0000\n", // the text is one record, whatever lines it has
      relax_quotes: usual === "\t", // quotes in TSV are mostly plain characters
    }) as string[][];
    return values ?? [];
  } catch (error) {
    if (!/^(CSV|INVALID)_/.test(String((error as { code?: unknown }).code))) throw error;
    context.bad(where, `not valid CSV: ${(error as Error).message.replace(/ at line \d+/, "")}`);
    return null;
  }
}

function checkedHeader(values: readonly string[], where: Where, context: ReadContext): string[] | null {
  const names = values.map((name) => name.trim());
  const seen = new Set<string>();
  const twice = names.find((name) => seen.size === seen.add(name).size);
  if (twice === undefined) return names;
  context.problems.add(`${where.file}:${where.line}`, `not valid CSV: the header names "${twice}" twice`);
  return null;
}

function recordOf(names: readonly string[], values: readonly string[]): DataRecord {
  return Object.fromEntries(names.map((name, i) => [name, values[i] ?? ""]));
}
