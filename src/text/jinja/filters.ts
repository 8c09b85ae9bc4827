import { bind, flag, integer, optionalText, text } from "./arguments.ts";
import type { Context } from "./context.ts";
import { TemplateError } from "./errors.ts";
import { LIST_FILTERS } from "./filters-list.ts";
import { capitalize, methodOf, replaced, title } from "./methods.ts";
import { arithmetic, joinTexts } from "./operators.ts";
import {
  characterCount,
  characters,
  concat,
  lines,
  mapRuns,
  slice,
  strip,
  Text,
  textOf,
  unitOffset,
  words,
} from "./text.ts";
import {
  type CallArguments,
  Dict,
  isNumber,
  itemsOf,
  List,
  numberOf,
  orElse,
  truthy,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";
import { json, str } from "./write.ts";

/** What a filter makes of a value. */
export type Filter = (value: Value, args: CallArguments, context: Context) => Value;

type Bound = Readonly<Record<string, Value | undefined>>;

/** A filter with named parameters. */
export function filter(
  parameters: string,
  run: (value: Value, args: Bound, context: Context) => Value,
): Filter {
  const names = parameters === "" ? [] : parameters.split(" ");
  return (value, args, context) => run(value, bind("filter", args, names), context);
}

const ofText = (change: (value: Text) => Value): Filter => filter("", (value) => change(str(value)));

/** The method of that name, on the text of the value. */
const byMethod =
  (name: string): Filter =>
  (value, args, { budget }) =>
    (methodOf(str(value), name, budget) as (args: CallArguments) => Value)(args);

function length(value: Value): Value {
  if (value instanceof Text) return BigInt(characterCount(value.value));
  if (value instanceof List) return BigInt(value.items.length);
  if (value instanceof Dict) return BigInt(value.entries.size);
  if (value instanceof Undefined) return 0n;
  throw new TemplateError(`object of type '${typeName(value)}' has no len()`);
}

function fallback(value: Value, args: Bound): Value {
  const isMissing = value instanceof Undefined || (flag(args.boolean) && !truthy(value));
  return isMissing ? orElse(args.default_value, textOf("")) : value;
}

function toJson(value: Value, args: Bound, context: Context): Value {
  context.readWhole(value);
  const indent = args.indent ?? null;
  const indentText =
    indent === null
      ? null
      : indent instanceof Text
        ? indent.value
        : " ".repeat(Math.min(32, integer(indent)));
  const separators = args.separators instanceof List ? args.separators.items.map((s) => text(s).value) : null;
  const result = json(value, {
    indent: indentText,
    itemSeparator: separators?.[0] ?? (indentText === null ? ", " : ","),
    keySeparator: separators?.[1] ?? ": ",
    sortsKeys: flag(args.sort_keys),
    isAscii: flag(args.ensure_ascii),
  });
  context.budget.made(result.length);
  return result;
}

function indented(value: Value, args: Bound, { budget }: Context): Value {
  const width = args.width ?? 4n;
  const by = width instanceof Text ? width : textOf(" ".repeat(Math.min(1000, integer(width))));
  const all = lines(str(value), true);
  // As Python's: a text that ends in a line break has an empty line behind it.
  const ended = /\n$/.test(str(value).value);
  const parts = all.flatMap((line, i) => {
    const isBlank = /^[\r\n]*$/.test(line.value) && !flag(args.blank);
    const isPlain = i === 0 ? !flag(args.first) : isBlank;
    return isPlain ? [line] : [by, line];
  });
  return joinTexts(ended && flag(args.blank) ? [...parts, by] : parts, budget);
}

function toInteger(value: Value, { default: other = 0n, base }: Bound): Value {
  if (isNumber(value)) {
    const number = numberOf(value);
    if (typeof number === "bigint") return number;
    return Number.isFinite(number) ? BigInt(Math.trunc(number)) : other;
  }
  const digits = str(value).value.trim().replaceAll("_", "");
  if (integer(base, 10) === 16 && /^(0x)?[\da-f]+$/i.test(digits))
    return BigInt(`0x${digits.replace(/^0x/i, "")}`);
  if (/^[-+]?\d+$/.test(digits)) return BigInt(digits.replace(/^\+/, ""));
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(digits) ? BigInt(Math.trunc(Number(digits))) : other;
}

function toFloat(value: Value, { default: other = 0 }: Bound): Value {
  if (isNumber(value)) return Number(numberOf(value));
  const digits = str(value).value.trim();
  return digits !== "" && Number.isFinite(Number(digits)) ? Number(digits) : other;
}

function rounded(value: Value, { precision, method }: Bound): Value {
  if (!isNumber(value)) throw new TemplateError(`round: expected a number, got ${typeName(value)}`);
  const [number, factor] = [Number(numberOf(value)), 10 ** integer(precision, 0)];
  const how = optionalText(method ?? null)?.value ?? "common";
  if (how === "ceil") return Math.ceil(number * factor) / factor;
  if (how === "floor") return Math.floor(number * factor) / factor;
  // Python rounds halves to the even neighbour.
  const scaled = number * factor;
  const near = Math.round(scaled);
  return (Math.abs(scaled % 1) === 0.5 && near % 2 !== 0 ? near - 1 : near) / factor;
}

function truncated(value: Value, args: Bound): Value {
  const whole = str(value);
  const size = integer(args.length, 255);
  const end = optionalText(args.end ?? null) ?? textOf("...");
  if (characterCount(whole.value) <= size + integer(args.leeway, 5)) return whole;
  const cut = slice(whole, 0, unitOffset(whole.value, Math.max(0, size - characterCount(end.value))));
  const space = flag(args.killwords) ? -1 : cut.value.lastIndexOf(" ");
  return concat([space < 0 ? cut : slice(cut, 0, space), end]);
}

const ESCAPES: Readonly<Record<string, string>> = {
  ...{ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;" },
};

const escaped = ofText((value) =>
  mapRuns(value, (part) => part.replace(/[&<>"']/g, (char) => ESCAPES[char] as string)),
);

function joined(value: Value, args: Bound, { attribute, budget }: Context): Value {
  const separator = args.d === undefined ? textOf("") : str(args.d);
  const name = args.attribute === undefined ? null : text(args.attribute).value;
  const items = itemsOf(value, characters).map((item) => str(name === null ? item : attribute(item, name)));
  return joinTexts(
    items.flatMap((item, i) => (i === 0 ? [item] : [separator, item])),
    budget,
  );
}

function wrapped(value: Value, { width }: Bound): Value {
  const limit = integer(width, 79);
  const result: Text[] = [];
  for (const line of lines(str(value))) {
    let current: Text[] = [];
    let size = 0;
    for (const word of words(line)) {
      if (size > 0 && size + 1 + word.length > limit) {
        result.push(concat(current));
        current = [];
        size = 0;
      }
      if (size > 0) current.push(textOf(" "));
      current.push(word);
      size += word.length + (size > 0 ? 1 : 0);
    }
    result.push(concat(current));
  }
  return concat(result.flatMap((line, i) => (i === 0 ? [line] : [textOf("\n"), line])));
}

function negated(value: Value): Value {
  if (!isNumber(value)) throw new TemplateError(`bad operand type for abs(): '${typeName(value)}'`);
  const number = numberOf(value);
  return number < 0 ? -number : number;
}

const FILTERS: Readonly<Record<string, Filter>> = {
  ...LIST_FILTERS,
  abs: filter("", negated),
  attr: filter("name", (value, { name }, { attribute }) => attribute(value, text(name).value)),
  capitalize: ofText(capitalize),
  center: filter("width", (value, { width = 80n }, { budget }) =>
    (methodOf(str(value), "center", budget) as (args: CallArguments) => Value)({
      positional: [width],
      named: new Map(),
    }),
  ),
  count: filter("", length),
  d: filter("default_value boolean", fallback),
  default: filter("default_value boolean", fallback),
  e: escaped,
  escape: escaped,
  forceescape: escaped,
  float: filter("default", toFloat),
  format: (value, { positional, named }, { budget }) =>
    arithmetic(
      "%",
      str(value),
      named.size > 0
        ? new Dict([...named].map(([key, item]): [Value, Value] => [textOf(key), item]))
        : new List(positional, true),
      budget,
    ),
  indent: filter("width first blank", indented),
  int: filter("default base", toInteger),
  join: filter("d attribute", joined),
  length: filter("", length),
  lower: byMethod("lower"),
  replace: filter("old new count", (value, args, { budget }) => replaced(str(value), args, budget)),
  round: filter("precision method", rounded),
  safe: ofText((value) => value),
  string: ofText((value) => value),
  striptags: ofText((value) => {
    const bare = value.value.replace(/<!--.*?-->|<[^>]*>/gs, "");
    return joinWords(textOf(bare, value.runs[0]));
  }),
  title: ofText(title),
  tojson: filter("indent ensure_ascii separators sort_keys", (value, args, context) =>
    toJson(value, args, context),
  ),
  trim: filter("chars", (value, { chars }) => strip(str(value), "strip", optionalText(chars)?.value ?? null)),
  truncate: filter("length killwords end leeway", truncated),
  upper: byMethod("upper"),
  urlencode: ofText((value) =>
    mapRuns(value, (part) =>
      encodeURIComponent(
        part.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd"),
      )
        .replaceAll("%2F", "/")
        .replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`),
    ),
  ),
  wordcount: ofText((value) => BigInt(value.value.match(/[\p{L}\p{N}_]+/gu)?.length ?? 0)),
  wordwrap: filter("width", wrapped),
};

function joinWords(value: Text): Text {
  const space = textOf(" ", value.runs[0]);
  return concat(words(value).flatMap((word, i) => (i === 0 ? [word] : [space, word])));
}

/** Whether there is a filter of that name. */
export const hasFilter = (name: string): boolean => Object.hasOwn(FILTERS, name);

/** Applies a filter. @throws TemplateError for an unknown one, and what it refuses */
export function applyFilter(name: string, value: Value, args: CallArguments, context: Context): Value {
  const found = Object.hasOwn(FILTERS, name) ? FILTERS[name] : undefined;
  if (found === undefined) throw new TemplateError(`No filter named '${name}'.`);
  context.budget.step(1 + (value instanceof Text ? value.length / 64 : 0));
  return found(value, args, context);
}
