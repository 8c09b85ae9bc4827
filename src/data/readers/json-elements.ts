import { concatBytes, textOfUtf8 } from "../../io/bytes.ts";
import type { ReadContext } from "../record.ts";
import { utf8Chunks, utf8Problem } from "./lines.ts";

/** A stretch of a JSON file, and the line it begins on. */
export interface JsonStretch {
  readonly text: string;
  readonly line: number;
}

const [QUOTE, BACKSLASH, NEWLINE, COMMA, COLON] = [0x22, 0x5c, 0x0a, 0x2c, 0x3a];
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

/** A byte outside of strings that is no white space, or the quote that ends a string. */
interface Mark {
  readonly byte: number;
  /** Offset in the chunk. */
  readonly at: number;
  /** Lists and objects around it; of a bracket, around the list or object. */
  readonly depth: number;
  readonly line: number;
  /** Of the quote that ends a string at depth 1: the string, cut at 64 bytes. */
  readonly string: string | null;
}

const KEPT_BYTES = 64;

/** Goes over chunks of a file and tells of their marks. */
function createLexer(): (chunk: Uint8Array, onMark: (mark: Mark) => void) => void {
  let [depth, line, inString, isEscaped] = [0, 1, false, false];
  let literal: number[] = [];
  return (chunk, onMark) => {
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at] as number;
      if (byte === NEWLINE) {
        line++;
        inString = false; // no string goes over lines: what is wrong stays in its line
      }
      if (inString) {
        const ends = !isEscaped && byte === QUOTE;
        isEscaped = !isEscaped && byte === BACKSLASH;
        inString = !ends;
        if (ends)
          onMark({
            byte,
            at,
            depth,
            line,
            string: depth === 1 ? textOfUtf8(Uint8Array.from(literal)) : null,
          });
        else if (depth === 1 && literal.length < KEPT_BYTES) literal.push(byte);
      } else if (byte === QUOTE) {
        inString = true;
        literal = [];
        onMark({ byte, at, depth, line, string: null });
      } else if (byte > 0x20) {
        if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth--;
        onMark({ byte, at, depth, line, string: null });
        if (byte === OPEN_LIST || byte === OPEN_OBJECT) depth++;
      }
    }
  };
}

/** Takes a stretch of a file that may go over several chunks. */
function createHolder(file: string, context: ReadContext) {
  let parts: Uint8Array[] = [];
  let size = 0;
  let line = 1;
  return {
    begin: (first: number) => {
      parts = [];
      size = 0;
      line = first;
    },
    add: (part: Uint8Array) => {
      size += part.length;
      if (size > context.maxLineBytes) parts = [];
      else parts.push(part);
    },
    /** The stretch; null if it is too long, which is noted. */
    end: (): JsonStretch | null => {
      const bytes = concatBytes(parts);
      const text = textOfUtf8(bytes);
      const before = text.slice(0, text.length - text.trimStart().length);
      const start = line + before.split("\n").length - 1;
      const problem =
        size > context.maxLineBytes
          ? `the record is ${size.toLocaleString("en")} bytes long; the limit is ${context.maxLineBytes.toLocaleString("en")}`
          : utf8Problem(bytes);
      if (problem === null) return { text: text.trim(), line: start };
      context.bad({ file, line: start, unit: "line" }, problem);
      return null;
    },
  };
}

/** Whether the `[` of an array under a key has come, as the marks of an object come. */
function keyWatch(key: string): (mark: Mark) => boolean {
  let state: "no" | "key" | "colon" = "no";
  return ({ byte, depth, string }) => {
    if (depth !== 1) return false;
    if (state === "colon" && byte === OPEN_LIST) return true;
    if (string !== null) state = string === key ? "key" : "no";
    else if (byte === COLON) state = state === "key" ? "colon" : "no";
    else state = "no";
    return false;
  };
}

/** The elements of the outermost array of a file (`key` null), or of the array under a key of its outermost object, one by one. An
 *  array that does not end, and text behind it, are noted. */
export async function* jsonElements(
  file: string,
  context: ReadContext,
  key: string | null,
): AsyncGenerator<JsonStretch> {
  const lex = createLexer();
  const holder = createHolder(file, context);
  const watch = key === null ? null : keyWatch(key);
  const inner = key === null ? 1 : 2;
  const at: { state: "before" | "inside" | "behind" } = { state: "before" };
  let [lastLine, textBehind, elements] = [1, 0, 0];
  let ready: JsonStretch[] = [];
  for await (const chunk of utf8Chunks(file, context)) {
    let from = 0;
    const take = (to: number, isLast: boolean): void => {
      holder.add(chunk.subarray(from, to));
      const element = holder.end();
      // An array without elements holds white space alone.
      if (element !== null && !(isLast && elements === 0 && element.text === "")) ready.push(element);
      elements++;
    };
    lex(chunk, (mark) => {
      const { byte, depth, line } = mark;
      lastLine = line;
      if (at.state === "before" && (watch === null ? byte === OPEN_LIST : watch(mark))) {
        at.state = "inside";
        from = mark.at + 1;
        holder.begin(line);
      } else if (at.state === "inside" && depth === inner && byte === COMMA) {
        take(mark.at, false);
        from = mark.at + 1;
        holder.begin(line);
      } else if (at.state === "inside" && depth === inner - 1 && byte === CLOSE_LIST) {
        take(mark.at, true);
        at.state = "behind";
      } else if (at.state === "behind" && key === null && textBehind === 0) textBehind = line;
    });
    if (at.state === "inside") holder.add(chunk.subarray(from));
    yield* ready;
    ready = [];
  }
  if (at.state !== "behind")
    context.problems.add(`${file}:${lastLine}`, "not valid JSON: the array does not end");
  else if (textBehind > 0)
    context.problems.add(`${file}:${textBehind}`, "not valid JSON: text behind the array");
}

/** Objects looked at to tell JSON Lines from others. */
const SEEN_OBJECTS = 16;

/** What a file that begins with an object is: "data" for one object with an array of objects under that key; where other objects follow,
 *  "lines" if each of the first is a line of its own, else "objects"; else the object. What is wrong is noted, and null given. */
export async function outermost(
  file: string,
  context: ReadContext,
): Promise<"data" | "lines" | "objects" | JsonStretch | null> {
  const lex = createLexer();
  const holder = createHolder(file, context);
  const watch = keyWatch("data");
  const shape: { list: "no" | "begun" | "of objects" } = { list: "no" };
  let [count, isInside, areLines, hasOthers, lastLine, firstLine, endLine] = [0, false, true, false, 1, 1, 0];
  for await (const chunk of utf8Chunks(file, context)) {
    let from = 0;
    let to: number | null = null;
    lex(chunk, (mark) => {
      lastLine = mark.line;
      if (count > SEEN_OBJECTS || hasOthers) return;
      if (!isInside) {
        if (mark.byte !== OPEN_OBJECT) {
          hasOthers = true;
          if (mark.line === endLine) areLines = false;
        } else {
          if (mark.line === endLine) areLines = false;
          [isInside, firstLine] = [true, mark.line];
          count++;
          if (count > 1) return;
          from = mark.at;
          holder.begin(mark.line);
        }
        return;
      }
      if (count === 1 && shape.list === "begun") shape.list = mark.byte === OPEN_OBJECT ? "of objects" : "no";
      else if (count === 1 && shape.list === "no" && watch(mark)) shape.list = "begun";
      if (mark.depth > 0 || mark.byte !== CLOSE_OBJECT) return;
      if (mark.line !== firstLine) areLines = false;
      [isInside, endLine] = [false, mark.line];
      if (count === 1) to = mark.at + 1;
    });
    // Of a container the elements are read one by one: it need not be held.
    if (count === 1 && (isInside || to !== null)) holder.add(chunk.subarray(from, to ?? chunk.length));
    if (count > SEEN_OBJECTS) break;
  }
  const isAlone = count === 1 && !(hasOthers && areLines);
  const behind = hasOthers ? "text behind the object" : null;
  const problem = isAlone ? (isInside ? "the object does not end" : behind) : null;
  if (problem !== null) context.problems.add(`${file}:${lastLine}`, `not valid JSON: ${problem}`);
  if (problem !== null) return null;
  if (!isAlone) return areLines ? "lines" : "objects";
  return shape.list === "of objects" ? "data" : holder.end();
}

/** Objects that stand one after another, each over any number of lines. What stands between them, and one that does not end, are noted. */
export async function* jsonObjects(file: string, context: ReadContext): AsyncGenerator<JsonStretch> {
  const lex = createLexer();
  const holder = createHolder(file, context);
  let [isInside, firstLine] = [false, 1];
  let stray: number | null = null;
  for await (const chunk of utf8Chunks(file, context)) {
    const ready: JsonStretch[] = [];
    let from = 0;
    lex(chunk, ({ byte, at, depth, line }) => {
      if (depth > 0) return;
      if (!isInside && byte === OPEN_OBJECT) {
        [isInside, from, firstLine] = [true, at, line];
        holder.begin(line);
      } else if (isInside && byte === CLOSE_OBJECT) {
        isInside = false;
        holder.add(chunk.subarray(from, at + 1));
        const object = holder.end();
        if (object !== null) ready.push(object);
      } else if (!isInside) stray ??= line;
    });
    if (isInside) holder.add(chunk.subarray(from));
    yield* ready;
    if (stray !== null) break;
  }
  if (stray !== null)
    context.problems.add(
      `${file}:${stray}`,
      "not valid JSON: text between objects, of which each is a record",
    );
  else if (isInside) context.problems.add(`${file}:${firstLine}`, "not valid JSON: the object does not end");
}
