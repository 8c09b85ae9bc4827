import { TemplateError } from "./errors.ts";
import { concat, mapRuns, sourceOf, Text, textOf } from "./text.ts";
import { Callable, Dict, List, Namespace, typeName, Undefined, type Value } from "./values.ts";

/** Levels of lists and dictionaries that are written out. */
const MAX_DEPTH = 500;

/** Python's `str(value)`. */
export function str(value: Value): Text {
  if (value instanceof Text) return value;
  if (value instanceof Undefined) return textOf("");
  return repr(value);
}

/** Python's `repr(value)`. */
export function repr(value: Value, depth = 0): Text {
  if (depth > MAX_DEPTH) throw new TemplateError("a value is nested too deeply to be written");
  if (value instanceof Text) return quotedText(value);
  if (value === null) return textOf("None");
  if (typeof value === "boolean") return textOf(value ? "True" : "False");
  if (typeof value === "bigint") return textOf(String(value));
  if (typeof value === "number") return textOf(floatText(value));
  if (value instanceof Undefined) return textOf("Undefined");
  if (value instanceof Namespace) return textOf("<Namespace>");
  if (value instanceof Callable) return textOf(`<function ${value.name}>`);
  const plain = (text: string): Text => ofData(text, value);
  if (value instanceof List) {
    const [open, close] = value.isTuple ? ["(", value.items.length === 1 ? ",)" : ")"] : ["[", "]"];
    return enclosed(
      plain,
      open,
      close,
      value.items.map((item) => repr(item, depth + 1)),
    );
  }
  return enclosed(
    plain,
    "{",
    "}",
    [...value.entries.values()].map(([key, item]) =>
      concat([repr(key, depth + 1), plain(": "), repr(item, depth + 1)]),
    ),
  );
}

/** Text that a container of the data brings with it is data too. */
function ofData(text: string, { path }: { readonly path: string | null }): Text {
  return textOf(text, { origin: path, isGenerated: false });
}

function enclosed(plain: (text: string) => Text, open: string, close: string, items: readonly Text[]): Text {
  const separator = plain(", ");
  return concat([
    plain(open),
    ...items.flatMap((item, i) => (i === 0 ? [item] : [separator, item])),
    plain(close),
  ]);
}

/** Python's repr of a float. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Object.is(value, -0)) return "-0.0";
  const [digits = "0", exponent = "0"] = value.toExponential().split("e");
  const power = Number(exponent);
  if (power >= -4 && power < 16) {
    const text = Math.abs(value) < 1e-6 ? value.toFixed(20).replace(/0+$/, "") : String(value);
    return text.includes(".") ? text : `${text}.0`;
  }
  return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

/** Python's repr of a str. */
function quotedText(text: Text): Text {
  const quote = text.value.includes("'") && !text.value.includes('"') ? '"' : "'";
  const escaped = mapRuns(text, (part) => Array.from(part, (char) => escapedChar(char, quote)).join(""));
  const mark = textOf(quote, sourceOf(text));
  return concat([mark, escaped, mark]);
}

const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };

function escapedChar(char: string, quote: string): string {
  if (char === quote) return `\\${char}`;
  const short = SHORT[char];
  if (short !== undefined) return short;
  if (char === " " || !/[\p{C}\p{Z}]/u.test(char)) return char;
  const code = char.codePointAt(0) as number;
  const hex = code.toString(16);
  if (code < 0x100) return `\\x${hex.padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}

/** Options of Python's `json.dumps`. */
export interface JsonOptions {
  readonly indent: string | null;
  readonly itemSeparator: string;
  readonly keySeparator: string;
  readonly sortsKeys: boolean;
  readonly isAscii: boolean;
}

/** Python's `json.dumps(value)`. @throws TemplateError for what is no JSON */
export function json(value: Value, options: JsonOptions, depth = 0): Text {
  if (depth > MAX_DEPTH) throw new TemplateError("a value is nested too deeply to be written as JSON");
  if (value instanceof Text) return jsonText(value, options.isAscii);
  if (value === null) return textOf("null");
  if (typeof value === "boolean") return textOf(String(value));
  if (typeof value === "bigint") return textOf(String(value));
  if (typeof value === "number") return textOf(jsonFloat(value));
  if (!(value instanceof List || value instanceof Dict))
    throw new TemplateError(`Object of type ${typeName(value)} is not JSON serializable`);
  const plain = (text: string): Text => ofData(text, value);
  const parts =
    value instanceof List
      ? value.items.map((item) => json(item, options, depth + 1))
      : jsonEntries(value, options, plain, depth);
  const [open, close] = value instanceof List ? ["[", "]"] : ["{", "}"];
  if (parts.length === 0) return plain(open + close);
  const { indent } = options;
  const line = (level: number): string => (indent === null ? "" : `\n${indent.repeat(level)}`);
  const separator = plain(options.itemSeparator + line(depth + 1));
  return concat([
    plain(open + line(depth + 1)),
    ...parts.flatMap((part, i) => (i === 0 ? [part] : [separator, part])),
    plain(line(depth) + close),
  ]);
}

function jsonEntries(dict: Dict, options: JsonOptions, plain: (text: string) => Text, depth: number): Text[] {
  const entries = [...dict.entries.values()].map(([key, value]) => ({ name: jsonKey(key, options), value }));
  if (options.sortsKeys) entries.sort((a, b) => (a.name.value < b.name.value ? -1 : 1));
  return entries.map(({ name, value }) =>
    concat([name, plain(options.keySeparator), json(value, options, depth + 1)]),
  );
}

function jsonKey(key: Value, { isAscii }: JsonOptions): Text {
  if (key instanceof Text) return jsonText(key, isAscii);
  if (key === null || typeof key === "boolean") return textOf(JSON.stringify(String(key)));
  if (typeof key === "bigint") return textOf(`"${key}"`);
  if (typeof key === "number") return textOf(`"${jsonFloat(key)}"`);
  throw new TemplateError(`keys must be str, int, float, bool or None, not ${typeName(key)}`);
}

function jsonFloat(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  return Number.isFinite(value) ? floatText(value) : value > 0 ? "Infinity" : "-Infinity";
}

/** JSON escapes of controls, quote and backslash; what JSON.stringify escapes beyond these (half surrogates) stays. */
function jsonText(text: Text, isAscii: boolean): Text {
  const mark = textOf('"', sourceOf(text));
  const pattern = isAscii ? /["\\]|[^ -~]/g : /["\\]|[^ -\uffff]/g;
  const escaped = (char: string): string =>
    JSON_SHORT[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return concat([mark, mapRuns(text, (part) => part.replace(pattern, escaped)), mark]);
}

const JSON_SHORT: Readonly<Record<string, string>> = {
  ...{ '"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f" },
};
