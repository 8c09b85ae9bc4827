import { parse } from "#csv-parse"; // its build for browsers brings a Buffer
import type { DataRecord } from "../formats/format.ts";
import type { Where } from "../place.ts";
import type { ReadContext, RecordReader, SourceRecord } from "../record.ts";
import { type CheckedLine, readAllLines } from "./lines.ts";

/** The lines of one record, joined: a quoted field may span several. */
interface RawRecord {
  readonly text: string;
  /** CheckedLine that it begins on. */
  readonly line: number;
  /** Why it is none; null mostly. */
  readonly fault: string | null;
}

/** Comma- or tab-separated values with a header line; every value is text. Line ends are read as LF, inside quoted
 *  fields too. In .csv the separator may also be a semicolon or a tab, as Excel writes it in much of the world: the header says, a
 *  line "sep=;" in front of it, or where the header has several, the first records (which is noted). */
export function readCsv(usual: "," | "\t"): RecordReader {
  return async function* read(file: string, context: ReadContext): AsyncGenerator<SourceRecord> {
    const lines = readAllLines(file, context);
    try {
      yield* readTable(lines, usual, file, context);
    } finally {
      await lines.return(undefined); // closes the file
    }
  };
}

async function* readTable(
  lines: AsyncGenerator<CheckedLine>,
  usual: "," | "\t",
  file: string,
  context: ReadContext,
): AsyncGenerator<SourceRecord> {
  const opening = await openTable(lines, usual, file, context);
  if (opening === null) return;
  const { delimiter, seen } = opening;
  const at = (line: number): Where => ({ file, line, unit: "line" });
  let names: string[] | null = null;
  const isStrict = usual === ",";
  const records = rawRecords(chained(seen, lines), delimiter, isStrict, context, at);
  for await (const { line, values } of parsedRecords(records, delimiter, isStrict)) {
    if (typeof values === "string") {
      context.bad(at(line), values);
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
}

async function* chained(
  first: readonly CheckedLine[],
  rest: AsyncGenerator<CheckedLine>,
): AsyncGenerator<CheckedLine> {
  yield* first;
  yield* rest;
}

/** Lines looked at, and their UTF-16 units, to tell what separates fields. */
const [SAMPLE_LINES, SAMPLE_LENGTH] = [50, 1 << 20];

/** The separator, and the lines read from the header's first on. */
async function openTable(
  lines: AsyncGenerator<CheckedLine>,
  usual: "," | "\t",
  file: string,
  context: ReadContext,
): Promise<{ readonly delimiter: string; readonly seen: readonly CheckedLine[] } | null> {
  let given: string | null = null;
  for (;;) {
    const next = await lines.next();
    if (next.done) return null;
    const { text, line, fault } = next.value;
    if (fault !== null) {
      context.bad({ file, line, unit: "line" }, fault); // without a header nothing can be named
      return null;
    }
    if (text.trim() === "") continue;
    const stated: string | undefined =
      given === null ? /^"?sep=(.)"?;*,*$/i.exec(text.replace(/\r$/, ""))?.[1] : undefined;
    if (stated !== undefined) {
      given = stated;
      continue;
    }
    const candidates = given !== null ? [given] : usual === "\t" ? [usual] : separatorsOf(text);
    const [only = ",", ...others] = candidates;
    if (others.length === 0) return { delimiter: only, seen: [next.value] };
    const seen = [next.value, ...(await taken(lines))];
    const fitting = candidates.filter((candidate) => isTable(seen, candidate));
    const where: Where = { file, line, unit: "line" };
    if (fitting.length === 1) {
      const [delimiter] = fitting as [string];
      context.notes.at(where)("separator", delimiter);
      return { delimiter, seen };
    }
    context.problems.add(
      `${file}:${line}`,
      'the header has several of , ; and tab, and the first records do not tell what separates the fields: put a line such as "sep=;" ' +
        "in front of it",
    );
    return null;
  }
}

/** What may separate the fields of a header. */
function separatorsOf(header: string): string[] {
  const bare = header.replace(/"(?:[^"]|"")*"/g, "");
  return [",", ";", "\t"].filter((candidate) => bare.includes(candidate));
}

async function taken(lines: AsyncGenerator<CheckedLine>): Promise<CheckedLine[]> {
  const seen: CheckedLine[] = [];
  let length = 0;
  while (seen.length < SAMPLE_LINES && length < SAMPLE_LENGTH) {
    const next = await lines.next();
    if (next.done) break;
    seen.push(next.value);
    length += next.value.text.length;
  }
  return seen;
}

/** Whether lines are a table with a separator: records, all of as many fields as the header. A last record may be cut. */
function isTable(lines: readonly CheckedLine[], delimiter: string): boolean {
  let open: string[] = [];
  let width: number | null = null;
  let records = 0;
  let quotes: QuoteState = "closed";
  for (const { text } of lines) {
    if (open.length === 0 && text.trim() === "") continue;
    open.push(text);
    quotes = endOfLine(text, delimiter, quotes === "open", true);
    if (quotes === "open") continue;
    if (quotes === "stray") return false;
    const parsed = parsedText(open.join("\n"), delimiter, true);
    const count = typeof parsed === "string" ? -1 : (parsed[0]?.length ?? 0);
    open = [];
    width ??= count;
    if (count < 0 || count !== width) return false;
    records++;
  }
  return records > 1;
}

/** Lines joined to records at quotes that are open at their ends. */
async function* rawRecords(
  lines: AsyncGenerator<CheckedLine>,
  delimiter: string,
  isStrict: boolean,
  context: ReadContext,
  at: (line: number) => Where,
): AsyncGenerator<RawRecord> {
  let parts: string[] = [];
  let size = 0;
  let start = 0;
  let quotes: QuoteState = "closed";
  let fault: Pick<RawRecord, "line" | "fault"> | null = null;
  for await (const { text, line, fault: own } of lines) {
    if (own !== null) fault ??= { line, fault: own };
    if (parts.length === 0) {
      if (own === null && text.trim() === "" && !text.includes(delimiter)) continue;
      start = line;
    }
    parts.push(text);
    size += text.length + 1;
    quotes = endOfLine(text, delimiter, quotes === "open", isStrict);
    if (size > context.maxLineBytes) {
      context.problems.add(`${at(start).file}:${start}`, unclosed(context.maxLineBytes));
      return;
    }
    if (quotes === "open") continue;
    const stray =
      `not valid CSV: a quoted field of this record is closed in the middle of line ${line}: expected the separator or the line's ` +
      "end behind the quote";
    yield { text: parts.join("\n"), line: start, fault: quotes === "stray" ? stray : null, ...fault };
    fault = null;
    parts = [];
    size = 0;
  }
  if (quotes === "open") context.problems.add(`${at(start).file}:${start}`, unclosed(null));
}

function unclosed(limit: number | null): string {
  const until = limit === null ? "to the end of the file" : `within ${limit.toLocaleString("en")} characters`;
  return `not valid CSV: a quote that opens in this record is not closed ${until}`;
}

/** Behind a line: no quoted field is open, one is, or one was closed where neither a separator nor the line's end follows. */
type QuoteState = "closed" | "open" | "stray";

/** The state behind a line; `isOpen`: a quoted field was open in front of it. Only where it `isStrict` a quote is ever "stray". */
function endOfLine(text: string, delimiter: string, isOpen: boolean, isStrict: boolean): QuoteState {
  let i = 0;
  let quoted = isOpen;
  while (i < text.length || quoted) {
    if (!quoted) {
      if (text[i] !== '"') {
        const next = text.indexOf(delimiter, i);
        if (next < 0) return "closed";
        i = next + delimiter.length;
        continue;
      }
      i++;
    }
    const close = text.indexOf('"', i);
    if (close < 0) return "open";
    i = close + 1;
    quoted = text[i] === '"';
    if (quoted)
      i++; // a quote in the field, written twice
    else if (isStrict && i < text.length && !text.startsWith(delimiter, i)) return "stray";
    else {
      const next = text.indexOf(delimiter, i);
      if (next < 0) return "closed";
      i = next + delimiter.length;
    }
  }
  return "closed";
}

/** Records parsed at once, and their UTF-16 units: the parser has a cost for each call. */
const [BATCH_RECORDS, BATCH_LENGTH] = [256, 1 << 18];

/** A record's fields, or what is wrong with it. */
interface ParsedRecord {
  readonly line: number;
  readonly values: readonly string[] | string;
}

async function* parsedRecords(
  records: AsyncGenerator<RawRecord>,
  delimiter: string,
  isStrict: boolean,
): AsyncGenerator<ParsedRecord> {
  let batch: RawRecord[] = [];
  let length = 0;
  for await (const record of records) {
    batch.push(record);
    length += record.text.length;
    if (batch.length < BATCH_RECORDS && length < BATCH_LENGTH) continue;
    yield* parsedBatch(batch, delimiter, isStrict);
    batch = [];
    length = 0;
  }
  yield* parsedBatch(batch, delimiter, isStrict);
}

/** Behind each record; no text that is read has it, or the count of records tells. */
const RECORD_END = "\u0000\n";

function* parsedBatch(
  batch: readonly RawRecord[],
  delimiter: string,
  isStrict: boolean,
): Iterable<ParsedRecord> {
  const sound = batch.filter(({ fault }) => fault === null);
  const together = parsedText(sound.map(({ text }) => text).join(RECORD_END), delimiter, isStrict);
  const isWhole = typeof together !== "string" && together.length === sound.length;
  let next = 0;
  for (const { text, line, fault } of batch) {
    if (fault !== null) yield { line, values: fault };
    else if (isWhole) yield { line, values: together[next++] as string[] };
    else {
      const alone = parsedText(text, delimiter, isStrict);
      yield { line, values: typeof alone === "string" ? alone : (alone[0] ?? []) };
    }
  }
}

/** The fields of each record of a text, or what is wrong with it. */
function parsedText(text: string, delimiter: string, isStrict: boolean): string[][] | string {
  try {
    return parse(text, {
      delimiter,
      record_delimiter: RECORD_END, // a record may have several lines
      relax_quotes: !isStrict, // quotes in TSV are mostly plain characters
      relax_column_count: true, // the header says how many there are
    }) as string[][];
  } catch (error) {
    if (!/^(CSV|INVALID)_/.test(String((error as { code?: unknown }).code))) throw error;
    return `not valid CSV: ${(error as Error).message.replace(/ at line \d+/, "")}`;
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
