import { escaped } from "./escape.ts";
import { checkLength, fail, produce } from "./limits.ts";
import { type Layout, numberText, padding } from "./numbers.ts";
import { repr, toText } from "./print.ts";
import { intArg, type Runtime } from "./state.ts";
import { concat, isPlain, lengthOf, offsetsOf, slice, type Text, textOf } from "./text.ts";
import { hashOf, numberOf, originOf, readEntry, typeName, type Value } from "./values.ts";

const DIRECTIVE = /%(?:\(([^)]*)\))?([-+ #0]*)(\*|\d+)?(?:\.(\*|\d+)?)?[hlL]?([\s\S])?/g;

/** Python's `template % values`: what is put in keeps its origin. */
export function formatPercent(rt: Runtime, template: Text, values: Value): Text {
  const queue = values.kind === "tuple" ? [...values.items] : [values];
  let used = 0;
  let usesNames = false;
  const next = (): Value => queue[used++] ?? fail("not enough arguments for format string");
  const parts: Text[] = [];
  let end = 0;
  for (const match of template.text.matchAll(DIRECTIVE)) {
    const [whole, name, flags = "", width, precision, type] = match;
    parts.push(slice(template, end, match.index));
    end = match.index + whole.length;
    if (type === "%") {
      parts.push(slice(template, end - 1, end));
      continue;
    }
    if (name !== undefined) usesNames = true;
    const layout = layoutOf(
      flags,
      number(width, next),
      whole.includes(".") ? number(precision ?? "0", next) : null,
    );
    checkLength(rt.limits, layout.width);
    const value = name === undefined ? next() : named(values, name);
    parts.push(directive(rt, value, type, layout, template.markup));
  }
  if (!usesNames && used < queue.length && values.kind !== "dict")
    fail("not all arguments converted during string formatting");
  parts.push(slice(template, end));
  const text = concat(parts, template.markup);
  produce(rt.limits, text.text.length);
  return text;
}

function number(text: string | undefined, next: () => Value): number {
  if (text === undefined) return 0;
  return text === "*" ? intArg(next(), 0) : Number(text);
}

function named(values: Value, name: string): Value {
  if (values.kind !== "dict") return fail("format requires a mapping");
  const entry = values.entries.get(hashOf(textOf(name)));
  return entry === undefined ? fail(`KeyError: '${name}'`) : readEntry(values, entry);
}

function layoutOf(flags: string, width: number, precision: number | null): Layout {
  const isLeft = flags.includes("-") || width < 0;
  const isZero = flags.includes("0") && !isLeft;
  return {
    fill: isZero ? "0" : " ",
    align: isLeft ? "<" : isZero ? "=" : ">",
    sign: flags.includes("+") ? "+" : flags.includes(" ") ? " " : "-",
    isAlternate: flags.includes("#"),
    width: Math.abs(width),
    grouping: "",
    precision,
  };
}

function directive(
  rt: Runtime,
  value: Value,
  type: string | undefined,
  layout: Layout,
  markup: boolean,
): Text {
  switch (type) {
    case "s":
    case "r":
    case "a": {
      const text = type === "s" ? toText(rt.limits, value) : repr(rt.limits, value);
      const align = layout.align === "=" ? ">" : layout.align;
      return laidOut(markup ? escaped(rt, text) : text, { ...layout, fill: " ", align });
    }
    case "c": {
      if (value.kind === "text" && lengthOf(value.text) === 1)
        return laidOut(value, { ...layout, fill: " " });
      const code = intArg(value, 0);
      if (code < 0 || code > 0x10ffff) fail("%c arg not in range(0x110000)");
      return laidOut(textOf(String.fromCodePoint(code), originOf(value)), { ...layout, fill: " " });
    }
  }
  if (type === undefined) return fail("incomplete format");
  if (!"diuoxXeEfFgG".includes(type)) return fail(`unsupported format character '${type}'`);
  if (value.kind === "undefined") fail(value.message);
  const n = numberOf(value);
  if (n === null) return fail(`%${type} format: a real number is required, not ${typeName(value)}`);
  return textOf(numberText(...numeric(n, type), integerDigits(n, type, layout)), originOf(value));
}

function numeric(n: bigint | number, type: string): [bigint | number, string] {
  if ("diu".includes(type)) return [typeof n === "bigint" ? n : BigInt(Math.trunc(n)), "d"];
  if ("oxX".includes(type))
    return typeof n === "bigint" ? [n, type] : fail(`%${type} format: an integer is required`);
  return [Number(n), type];
}

/** An integer's precision is its least number of digits. */
function integerDigits(n: bigint | number, type: string, layout: Layout): Layout {
  if (!"diuoxX".includes(type) || layout.precision === null || layout.precision <= String(n).length)
    return layout;
  return { ...layout, fill: "0", align: "=", width: layout.precision + (n < 0 ? 1 : 0) };
}

/** A text cut to `precision` characters and padded to `width`. */
export function laidOut(text: Text, layout: Layout): Text {
  const { precision } = layout;
  const cut = precision === null ? text : slice(text, 0, unitsOf(text.text, precision));
  const [before, after] = padding(lengthOf(cut.text), layout.align || "<", layout.width);
  if (before + after === 0) return cut;
  return concat([textOf(layout.fill.repeat(before)), cut, textOf(layout.fill.repeat(after))], text.markup);
}

/** UTF-16 units of the first `count` characters. */
export function unitsOf(text: string, count: number): number {
  if (isPlain(text)) return count;
  const offsets = offsetsOf(text) as number[];
  return offsets[Math.min(count, offsets.length - 1)] as number;
}
