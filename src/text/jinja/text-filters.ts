import { escaped, forceEscaped } from "./escape.ts";
import type { Filter } from "./filter.ts";
import { toJson } from "./json.ts";
import { SPACE } from "./lexer.ts";
import { checkLength, fail, produce, tick } from "./limits.ts";
import { formatPercent, unitsOf } from "./percent.ts";
import { rewrite, toText } from "./print.ts";
import { bind, given, intArg, type Runtime, textArg } from "./state.ts";
import { concat, join, lengthOf, mapText, slice, type Text, textOf, textOfRuns } from "./text.ts";
import { replace, rsplit, splitLines, strip } from "./text-cut.ts";
import { capitalize, justify, lowerText, upperText } from "./text-methods.ts";
import { dict, int, isTrue, itemsOf, NONE, tuple, type Value } from "./values.ts";

/** A filter of text without arguments. */
const onText =
  (change: (rt: Runtime, text: Text) => Value): Filter =>
  (rt, value, args) => {
    bind("the filter", args, []);
    return change(rt, toText(rt.limits, value));
  };

const flag = (value: Value | undefined): boolean => value !== undefined && isTrue(value);

/** jinja2's `title`: the first letter after white space, a dash or an opening bracket. */
function title(rt: Runtime, text: Text): Text {
  const parts = text.text.split(TITLE_BREAK);
  let at = 0;
  const titled = parts.map((part) => {
    const first = at + unitsOf(part, 1);
    const end = at + part.length;
    const result = [
      mapText(slice(text, at, Math.min(first, end)), (t) => t.toUpperCase()),
      mapText(slice(text, Math.min(first, end), end), (t) => t.toLowerCase()),
    ];
    at = end;
    return part === "" ? [] : result;
  });
  produce(rt.limits, text.text.length);
  return concat(titled.flat(), text.markup);
}

const TITLE_BREAK = new RegExp(`((?:[-({[<]|${SPACE})+)`, "u");

const indent: Filter = (rt, value, args) => {
  const [width, first, blank] = bind("indent", args, ["width", "first", "blank"]);
  const text = textArg(value);
  const by = width?.kind === "text" ? width : textOf(" ".repeat(indentWidth(rt, width)));
  const lines = splitLines(rt, concat([text, textOf("\n")]));
  checkLength(rt.limits, text.text.length + lines.length * by.text.length);
  produce(rt.limits, text.text.length + lines.length * by.text.length);
  const isBlank = flag(blank);
  const indented = lines.map((line, i) =>
    i === 0 || (line.text === "" && !isBlank) ? line : concat([by, line]),
  );
  const result = join(indented, textOf("\n"));
  return { ...(flag(first) ? concat([by, result]) : result), markup: text.markup };
};

function indentWidth(rt: Runtime, width: Value | undefined): number {
  const number = Math.max(0, intArg(width, 4));
  checkLength(rt.limits, number);
  return number;
}

const truncate: Filter = (rt, value, args) => {
  const [length, killWords, end, leeway] = bind("truncate", args, ["length", "killwords", "end", "leeway"]);
  const text = textArg(value);
  const mark = end === undefined ? textOf("...") : textArg(end);
  const [most, slack] = [intArg(length, 255), given(leeway) ? intArg(leeway, 5) : 5];
  const markLength = lengthOf(mark.text);
  if (most < markLength || slack < 0) fail(`expected length >= ${markLength}, got ${most}`);
  if (lengthOf(text.text) <= most + slack) return text;
  const cut = slice(text, 0, unitsOf(text.text, most - markLength));
  return concat([flag(killWords) ? cut : (rsplit(rt, cut, " ", 1)[0] as Text), mark]);
};

const reversed = (text: Text): Text => {
  const characters = Array.from(text.text).reverse().join("");
  if (text.runs === null) return textOf(characters, text.origin, text.markup);
  const { length } = text.text;
  const starts = [0, ...text.runs.map((r) => r.end)];
  const runs = text.runs.map((r, i) => ({ end: length - (starts[i] as number), origin: r.origin })).reverse();
  return textOfRuns(characters, runs, text.markup);
};

const SAFE = /[A-Za-z0-9_.~/-]/;

/** `urllib.parse.quote`. */
function urlQuote(rt: Runtime, value: Value, forQuery: boolean): Text {
  const text = toText(rt.limits, value);
  return rewrite(rt.limits, text, (char) => {
    if (SAFE.test(char) && (char !== "/" || !forQuery)) return char;
    if (forQuery && char === " ") return "+";
    return Array.from(
      new TextEncoder().encode(char),
      (b) => `%${b.toString(16).toUpperCase().padStart(2, "0")}`,
    ).join("");
  });
}

const urlencode: Filter = (rt, value, args) => {
  bind("urlencode", args, []);
  if (["text", "none", "bool", "int", "float"].includes(value.kind)) return urlQuote(rt, value, false);
  const pairs =
    value.kind === "dict"
      ? [...value.entries.values()].map((e) => [e.key, e.value])
      : itemsOf(rt.limits, value).map((pair) => itemsOf(rt.limits, pair));
  const quoted = pairs.map(([key, item]) =>
    concat([urlQuote(rt, key ?? NONE, true), textOf("="), urlQuote(rt, item ?? NONE, true)]),
  );
  return join(quoted, textOf("&"));
};

/** transformers' `tojson`: Python's `json.dumps`, no HTML escapes. */
const tojson: Filter = (rt, value, args) => {
  const [ascii, indentBy, separators, sortKeys] = bind("tojson", args, [
    "ensure_ascii",
    "indent",
    "separators",
    "sort_keys",
  ]);
  const indentText = !given(indentBy)
    ? null
    : indentBy.kind === "text"
      ? indentBy.text
      : " ".repeat(indentWidth(rt, indentBy));
  const [item, key] = given(separators)
    ? itemsOf(rt.limits, separators).map(textArg)
    : [textOf(indentText === null ? ", " : ","), textOf(": ")];
  if (item === undefined || key === undefined) return fail("tojson: separators are two strings");
  if ((indentText?.length ?? 0) > 1000) fail("tojson: the indent is too wide");
  return toJson(rt.limits, value, {
    ensureAscii: flag(ascii),
    indent: indentText,
    separators: [item, key],
    sortKeys: flag(sortKeys),
  });
};

const format: Filter = (rt, value, args) => {
  if (args.values.length > 0 && args.named.size > 0)
    fail("can't handle positional and keyword arguments at the same time");
  const named = [...args.named].map(([name, item]) => [textOf(name), item] as const);
  return formatPercent(rt, toText(rt.limits, value), named.length > 0 ? dict(named) : tuple(args.values));
};

export const TEXT_FILTERS: Readonly<Record<string, Filter>> = {
  capitalize: onText(capitalize),
  center: (rt, value, args) =>
    justify(rt, toText(rt.limits, value), "center", intArg(bind("center", args, ["width"])[0], 80)),
  e: onText(escaped),
  escape: onText(escaped),
  forceescape: onText(forceEscaped),
  format,
  indent,
  lower: onText(lowerText),
  replace(rt, value, args) {
    const [old, by, count] = bind("replace", args, ["old", "new", "count"], 2);
    const [from, to] = [toText(rt.limits, old as Value), toText(rt.limits, by as Value)];
    const text = toText(rt.limits, value);
    return { ...replace(rt, text, from, to, given(count) ? intArg(count, -1) : -1), markup: false };
  },
  reverse(rt, value, args) {
    bind("reverse", args, []);
    if (value.kind === "text") {
      produce(rt.limits, value.text.length);
      return reversed(value);
    }
    return reversedItems(rt, value);
  },
  safe: onText((_, text) => ({ ...text, markup: true })),
  string: onText((_, text) => text),
  title: onText(title),
  tojson,
  trim(rt, value, args) {
    const [chars] = bind("trim", args, ["chars"]);
    return strip(toText(rt.limits, value), "strip", given(chars) ? textArg(chars).text : null);
  },
  truncate,
  upper: onText(upperText),
  urlencode,
  wordcount: onText((rt, text) => {
    tick(rt.limits, 1 + text.text.length / 16);
    return int(text.text.match(/[\p{L}\p{N}_]+/gu)?.length ?? 0);
  }),
};

function reversedItems(rt: Runtime, value: Value): Value {
  const items = itemsOf(rt.limits, value).toReversed();
  return {
    kind: "stream",
    name: value.kind === "list" ? "list_reverseiterator" : "reversed",
    iterator: items[Symbol.iterator](),
    view: null,
  };
}
