import { floatText } from "../python-text.ts";
import type { Limits } from "./limits.ts";
import { fail, MAX_DEPTH, produce, tick, WRITTEN } from "./limits.ts";
import { concat, type Origin, originAt, runsOf, slice, TEMPLATE, type Text, textOf } from "./text.ts";
import { type Dict, originOf, readEntry, type Sequence, typeName, type Value } from "./values.ts";

/** Python's `str(value)`, every character with its origin. */
export function toText(limits: Limits, value: Value): Text {
  if (value.kind === "text") return value;
  if (value.kind === "undefined") return textOf("");
  return repr(limits, value);
}

/** Longest integer that Python writes out, in digits. */
const MAX_DIGITS = 4300;

export function intText(value: bigint): string {
  const text = value.toString();
  if (text.length > MAX_DIGITS + (value < 0n ? 1 : 0)) fail(`an integer of more than ${MAX_DIGITS} digits`);
  return text;
}

/** Python's `repr(value)`. */
export function repr(limits: Limits, value: Value): Text {
  const parts: Text[] = [];
  writeRepr(limits, value, parts, 0);
  const text = concat(parts);
  produce(limits, text.text.length);
  return text;
}

function writeRepr(limits: Limits, value: Value, parts: Text[], depth: number): void {
  if (depth > MAX_DEPTH) fail("values are nested too deeply");
  tick(limits, WRITTEN);
  if (value.kind === "text") parts.push(quoted(limits, value));
  else if (value.kind === "list" || value.kind === "tuple") writeItems(limits, value, parts, depth);
  else if (value.kind === "dict") writeDict(limits, value, parts, depth);
  else if (value.kind === "stream" && value.view !== null) {
    parts.push(textOf(`${value.name}(`, value.view.origin));
    writeItems(limits, value.view, parts, depth);
    parts.push(textOf(")", value.view.origin));
  } else if (value.kind === "object" && value.details !== undefined) {
    parts.push(textOf(`<${value.name} `), value.details(), textOf(">"));
  } else parts.push(textOf(simpleRepr(value), originOf(value)));
}

/** `repr` of a value that holds no others. */
function simpleRepr(value: Value): string {
  switch (value.kind) {
    case "undefined":
      return "Undefined";
    case "none":
      return "None";
    case "bool":
      return value.value ? "True" : "False";
    case "int":
      return intText(value.value);
    case "float":
      return floatText(value.value);
    case "range":
      return value.step === 1n
        ? `range(${value.start}, ${value.stop})`
        : `range(${value.start}, ${value.stop}, ${value.step})`;
    default:
      return `<${typeName(value)}>`;
  }
}

function writeItems(limits: Limits, value: Sequence, parts: Text[], depth: number): void {
  const isTuple = value.kind === "tuple";
  const put = (text: string): void => {
    parts.push(textOf(text, value.origin));
  };
  put(isTuple ? "(" : "[");
  value.items.forEach((item, i) => {
    if (i > 0) put(", ");
    writeRepr(limits, item, parts, depth + 1);
  });
  put(isTuple ? (value.items.length === 1 ? ",)" : ")") : "]");
}

function writeDict(limits: Limits, value: Dict, parts: Text[], depth: number): void {
  const put = (text: string): void => {
    parts.push(textOf(text, value.origin));
  };
  put("{");
  let isFirst = true;
  for (const entry of value.entries.values()) {
    if (!isFirst) put(", ");
    isFirst = false;
    writeRepr(limits, entry.key, parts, depth + 1);
    put(": ");
    writeRepr(limits, readEntry(value, entry), parts, depth + 1);
  }
  put("}");
}

/** Characters that Python's `repr` of a string escapes: those that cannot be printed. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u;

function quoted(limits: Limits, value: Text): Text {
  const quote = value.text.includes("'") && !value.text.includes('"') ? '"' : "'";
  const body = rewrite(limits, value, (char) => {
    if (char === quote || char === "\\") return `\\${char}`;
    if (char === "\n") return "\\n";
    if (char === "\r") return "\\r";
    if (char === "\t") return "\\t";
    if (!UNPRINTABLE.test(char)) return char;
    const code = char.codePointAt(0) ?? 0;
    if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
    return code < 0x10000
      ? `\\u${code.toString(16).padStart(4, "0")}`
      : `\\U${code.toString(16).padStart(8, "0")}`;
  });
  return around(value, quote, body);
}

/** A text between quotes, which have its origin where that is one. */
export function around(value: Text, quote: string, body: Text): Text {
  const origin: Origin = value.runs === null ? value.origin : TEMPLATE;
  return concat([textOf(quote, origin), body, textOf(quote, origin)]);
}

/** The text with each character rewritten, with its origin. */
export function rewrite(limits: Limits, value: Text, change: (char: string) => string): Text {
  tick(limits, 1 + value.text.length / 8);
  let start = 0;
  const parts: Text[] = [];
  for (const { end, origin } of runsOf(value)) {
    let part = "";
    for (const char of value.text.slice(start, end)) part += change(char);
    parts.push(textOf(part, origin));
    start = end;
  }
  return concat(parts);
}

/** The text with each match of a pattern rewritten; what is written has the origin of the match's first character. */
export function rewriteMatches(value: Text, pattern: RegExp, change: (match: string) => string): Text {
  if (value.runs === null) return { ...value, text: value.text.replace(pattern, change) };
  const parts: Text[] = [];
  let end = 0;
  for (const match of value.text.matchAll(pattern)) {
    if (match.index > end) parts.push(slice(value, end, match.index));
    parts.push(textOf(change(match[0]), match[0] === "" ? TEMPLATE : originAt(value, match.index)));
    end = match.index + match[0].length;
  }
  if (end === 0) return value;
  if (end < value.text.length) parts.push(slice(value, end));
  return concat(parts, value.markup);
}
