import { open, readFile } from "node:fs/promises";
import type { ReadContext, SourceRecord } from "../records.ts";
import { asRecord, readJsonLines } from "./jsonl.ts";
import { firstInvalidByte, utf8Problem } from "./lines.ts";

/** JSON has no record separator, so the file is parsed whole. */
const MAX_JSON_BYTES = 256 * 1024 * 1024;

/** JSON: an array of objects, or `{"data": [objects]}`. JSON Lines under this extension is read as such. */
export async function* readJson(file: string, context: ReadContext): AsyncGenerator<SourceRecord> {
  const text = await readWhole(file, context);
  if (text === null || text.trim() === "") return;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (startsWithObjectLine(text)) yield* readJsonLines(file, context);
    else
      context.problems.add(
        `${file}:${faultyLine(text)}`,
        `not valid JSON: ${(error as Error).message.replace(/\s+/g, " ")}`,
      );
    return;
  }
  const list = Array.isArray(value) ? value : (value as { data?: unknown } | null)?.data;
  if (!Array.isArray(list)) {
    context.problems.add(file, 'expected an array of objects, or an object with an array "data"');
    return;
  }
  yield* elements(file, list, elementLines(text, !Array.isArray(value)), context);
}

async function* elements(
  file: string,
  list: readonly unknown[],
  lines: readonly number[],
  context: ReadContext,
): AsyncGenerator<SourceRecord> {
  for (const [i, element] of list.entries()) {
    const line = lines[i] ?? 1;
    const record = asRecord(element, `${file}:${line}`, context);
    if (record !== null) yield { record, where: { file, line, unit: "line" } };
  }
}

async function readWhole(file: string, context: ReadContext): Promise<string | null> {
  const handle = await open(file);
  const { size } = await handle.stat().finally(() => handle.close());
  if (size > MAX_JSON_BYTES) {
    context.problems.add(file, `a .json file is read whole, and ${size} bytes are too many: use .jsonl`);
    return null;
  }
  const bytes = await readFile(file);
  const problem = utf8Problem(bytes);
  if (problem === null) return bytes.toString("utf8").replace(/^\ufeff/, "");
  const before = bytes.subarray(0, firstInvalidByte(bytes)).toString("latin1");
  context.problems.add(`${file}:${lineAt(before, before.length)}`, problem);
  return null;
}

function startsWithObjectLine(text: string): boolean {
  const [first = ""] = text.trimStart().split("\n", 1);
  try {
    return first.startsWith("{") && typeof JSON.parse(first) === "object";
  } catch {
    return false;
  }
}

/** The first line up to which the text cannot be completed to valid JSON. V8 rarely says where it failed, but tokens do
 *  not span lines, so the line is found by bisection. */
function faultyLine(text: string): number {
  const ends: number[] = [];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) ends.push(at);
  ends.push(text.length);
  let sound = 0; // lines
  let faulty = ends.length;
  while (faulty - sound > 1) {
    const middle = (sound + faulty) >> 1;
    if (canGoOn(text.slice(0, ends[middle - 1]))) sound = middle;
    else faulty = middle;
  }
  return faulty;
}

function canGoOn(prefix: string): boolean {
  try {
    JSON.parse(prefix);
    return true;
  } catch (error) {
    const { message } = error as Error;
    return message === "Unexpected end of JSON input" || message.includes(`at position ${prefix.length}`);
  }
}

function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at >= 0 && at < offset; at = text.indexOf("\n", at + 1)) line++;
  return line;
}

/** Line on which each element of the list starts: the top-level array, or the one under the key "data". `text` is
 *  valid JSON. */
function elementLines(text: string, underData: boolean): number[] {
  const listDepth = underData ? 2 : 1;
  const lines: number[] = [];
  let depth = 0;
  let line = 1;
  let lastString = "";
  let inList = false;
  let expectElement = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i] as string;
    if (c === "\n") line++;
    if (c === " " || c === "\n" || c === "\r" || c === "\t") continue;
    if (expectElement && c !== "]") lines.push(line);
    expectElement = false;
    if (c === '"') {
      const end = stringEnd(text, i);
      if (depth === 1) lastString = text.slice(i + 1, end);
      i = end;
    } else if (c === "[" || c === "{") {
      depth++;
      if (depth === listDepth && c === "[" && (!underData || lastString === "data"))
        inList = expectElement = true;
    } else if (c === "]" || c === "}") {
      depth--;
      if (depth < listDepth) inList = false;
    } else if (c === "," && depth === listDepth) expectElement = inList;
  }
  return lines;
}

/** Index of the closing quote of the string that opens at `start`. */
function stringEnd(text: string, start: number): number {
  let i = start + 1;
  while (text[i] !== '"') i += text[i] === "\\" ? 2 : 1;
  return i;
}
