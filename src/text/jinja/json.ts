import { floatText } from "../python-text.ts";
import type { Limits } from "./limits.ts";
import { fail, MAX_DEPTH, produce, tick, tickText, WRITTEN } from "./limits.ts";
import { around, intText, rewriteMatches } from "./print.ts";
import { compareText, concat, type Text, textOf } from "./text.ts";
import { type Dict, type Entry, originOf, readEntry, type Sequence, typeName, type Value } from "./values.ts";

/** Options of Python's `json.dumps`. */
export interface JsonStyle {
  readonly ensureAscii: boolean;
  /** What one level is indented by; null: everything on one line. */
  readonly indent: string | null;
  readonly separators: readonly [item: Text, key: Text];
  readonly sortKeys: boolean;
}

/** Python's `json.dumps(value)`: brackets and separators have the origin of the value that they belong to.
 *  @throws TemplateFault for a value that JSON has no form for. */
export function toJson(limits: Limits, value: Value, style: JsonStyle): Text {
  const parts: Text[] = [];
  write(limits, value, style, parts, 0);
  const text = concat(parts);
  produce(limits, text.text.length);
  return text;
}

function write(limits: Limits, value: Value, style: JsonStyle, parts: Text[], depth: number): void {
  if (depth > MAX_DEPTH) fail("values are nested too deeply");
  tick(limits, WRITTEN);
  if (value.kind === "text") parts.push(string(limits, value, style));
  else if (value.kind === "list" || value.kind === "tuple") writeList(limits, value, style, parts, depth);
  else if (value.kind === "dict") writeDict(limits, value, style, parts, depth);
  else
    parts.push(
      textOf(
        scalarJson(value) ?? fail(`Object of type ${typeName(value)} is not JSON serializable`),
        originOf(value),
      ),
    );
}

function scalarJson(value: Value): string | null {
  switch (value.kind) {
    case "none":
      return "null";
    case "bool":
      return value.value ? "true" : "false";
    case "int":
      return intText(value.value);
    case "float":
      if (Number.isNaN(value.value)) return "NaN";
      if (!Number.isFinite(value.value)) return value.value > 0 ? "Infinity" : "-Infinity";
      return floatText(value.value);
    default:
      return null;
  }
}

const SHORT: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\f": "\\f",
  "\b": "\\b",
};
const unit = (char: string): string => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;

function string(limits: Limits, value: Text, style: JsonStyle): Text {
  tickText(limits, value.text.length);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: JSON escapes control characters.
  const pattern = style.ensureAscii ? /["\\\x00-\x1f]|[^\x00-\x7e]/g : /["\\\x00-\x1f]/g;
  return around(
    value,
    '"',
    rewriteMatches(value, pattern, (char) => SHORT[char] ?? unit(char)),
  );
}

/** Writes a list or dict: brackets, and line breaks where the style has them. */
function writeAll(
  value: Sequence | Dict,
  brackets: string,
  style: JsonStyle,
  parts: Text[],
  depth: number,
  items: readonly (() => void)[],
): void {
  const put = (text: string): void => {
    parts.push(textOf(text, value.origin));
  };
  const line = (level: number): void => {
    if (style.indent !== null) put(`\n${style.indent.repeat(level)}`);
  };
  put(brackets[0] as string);
  items.forEach((item, i) => {
    if (i > 0) parts.push(owned(style.separators[0], value));
    line(depth + 1);
    item();
  });
  if (items.length > 0) line(depth);
  put(brackets[1] as string);
}

/** A separator, as part of a value. */
const owned = (separator: Text, value: Sequence | Dict): Text => textOf(separator.text, value.origin);

function writeList(limits: Limits, value: Sequence, style: JsonStyle, parts: Text[], depth: number): void {
  const items = value.items.map((item) => () => write(limits, item, style, parts, depth + 1));
  writeAll(value, "[]", style, parts, depth, items);
}

function writeDict(limits: Limits, value: Dict, style: JsonStyle, parts: Text[], depth: number): void {
  const entries = [...value.entries.values()];
  if (style.sortKeys) sortEntries(entries);
  const items = entries.map((entry) => () => {
    parts.push(string(limits, keyText(entry.key), style));
    parts.push(owned(style.separators[1], value));
    write(limits, readEntry(value, entry), style, parts, depth + 1);
  });
  writeAll(value, "{}", style, parts, depth, items);
}

function sortEntries(entries: Entry[]): void {
  if (entries.some((e) => e.key.kind !== "text")) {
    if (entries.length > 1) fail("keys of several types cannot be sorted");
    return;
  }
  entries.sort((a, b) => compareText((a.key as Text).text, (b.key as Text).text));
}

function keyText(key: Value): Text {
  if (key.kind === "text") return key;
  const scalar = scalarJson(key);
  if (scalar === null) return fail(`keys must be str, int, float, bool or None, not ${typeName(key)}`);
  return textOf(scalar, originOf(key));
}
