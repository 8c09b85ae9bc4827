import { getAttribute, getItem } from "./attributes.ts";
import { escaped } from "./escape.ts";
import { checkLength, fail, produce } from "./limits.ts";
import { type Layout, numberText } from "./numbers.ts";
import { laidOut } from "./percent.ts";
import { repr, toText } from "./print.ts";
import type { Runtime } from "./state.ts";
import { concat, slice, type Text, textOf } from "./text.ts";
import { type Args, int, numberOf, originOf, readEntry, typeName, type Value } from "./values.ts";

/** Which argument `{}` takes next; null once fields have numbers. */
interface Counter {
  next: number | null;
}

/** Python's `template.format(…)`: what is put in keeps its origin. */
export function formatText(rt: Runtime, template: Text, args: Args): Text {
  const text = fields(rt, template, args, { next: 0 }, 0);
  produce(rt.limits, text.text.length);
  return { ...text, markup: template.markup };
}

/** Python's `template.format_map(mapping)`. */
export function formatMap(rt: Runtime, template: Text, mapping: Value): Text {
  if (mapping.kind !== "dict") return fail("format_map() needs a mapping");
  const named = [...mapping.entries.values()].map((e) => [keyName(e.key), readEntry(mapping, e)] as const);
  return formatText(rt, template, { values: [], named: new Map(named) });
}

const keyName = (key: Value): string => (key.kind === "text" ? key.text : "");

function fields(rt: Runtime, template: Text, args: Args, counter: Counter, depth: number): Text {
  if (depth > 2) fail("Max string recursion exceeded");
  const parts: Text[] = [];
  const source = template.text;
  let start = 0;
  for (let at = 0; at < source.length; at++) {
    const char = source[at];
    if (char !== "{" && char !== "}") continue;
    parts.push(slice(template, start, at));
    if (source[at + 1] === char) start = ++at;
    else {
      if (char === "}") fail("Single '}' encountered in format string");
      const end = closing(source, at);
      parts.push(field(rt, slice(template, at + 1, end), args, counter, depth));
      at = end;
      start = end + 1;
    }
  }
  parts.push(slice(template, start));
  return concat(parts);
}

function closing(source: string, at: number): number {
  let level = 0;
  for (let i = at; i < source.length; i++) {
    if (source[i] === "{") level++;
    else if (source[i] === "}" && --level === 0) return i;
  }
  return fail("expected '}' before end of string");
}

function field(rt: Runtime, content: Text, args: Args, counter: Counter, depth: number): Text {
  const match = /^((?:[^!:[]|\[[^\]]*\]?)*)(?:!([\s\S]))?(:)?/.exec(content.text);
  const [whole = "", name = "", conversion, colon] = match ?? [];
  if (colon === undefined && whole.length < content.text.length)
    fail("expected ':' after conversion specifier");
  const value = lookUp(rt, name, args, counter);
  const spec = fields(rt, slice(content, whole.length), args, counter, depth + 1).text;
  if (!"sra".includes(conversion ?? "")) fail(`Unknown conversion specifier ${conversion}`);
  const shown =
    conversion === undefined ? value : conversion === "s" ? toText(rt.limits, value) : repr(rt.limits, value);
  const result = formatValue(rt, shown, spec);
  return content.markup ? escaped(rt, result) : result;
}

function lookUp(rt: Runtime, name: string, args: Args, counter: Counter): Value {
  const [first = ""] = /^[^.[]*/.exec(name) ?? [];
  let value = first === "" || /^\d+$/.test(first) ? positional(first, args, counter) : args.named.get(first);
  if (value === undefined) return fail(`KeyError: '${first}'`);
  const rest = name.slice(first.length);
  let end = 0;
  for (const part of rest.matchAll(/\.([^.[]+)|\[([^\]]+)\]/g)) {
    if (part.index !== end) break;
    end += part[0].length;
    const [, attribute, item = ""] = part;
    if (attribute !== undefined) value = getAttribute(rt, value, attribute);
    else value = getItem(rt, value, /^\d+$/.test(item) ? int(BigInt(item)) : textOf(item));
  }
  return end === rest.length ? value : fail("Empty attribute in format string");
}

function positional(text: string, args: Args, counter: Counter): Value {
  if (text === "" && counter.next === null)
    fail("cannot switch from manual field specification to automatic field numbering");
  if (text !== "" && (counter.next ?? 0) > 0)
    fail("cannot switch from manual field specification to automatic field numbering");
  const index = text === "" ? (counter.next as number) : Number(text);
  counter.next = text === "" ? index + 1 : null;
  return args.values[index] ?? fail("Replacement index is out of range for positional args tuple");
}

const SPEC = /^(?:([\s\S])?([<>=^]))?([-+ ])?(z)?(#)?(0)?(\d+)?([,_])?(?:\.(\d+))?([a-zA-Z%])?$/u;

/** Python's `format(value, spec)`. */
export function formatValue(rt: Runtime, value: Value, spec: string): Text {
  if (spec === "") return toText(rt.limits, value);
  const [, fill, align, sign, , alternate, zero, width, grouping, precision, type = ""] =
    SPEC.exec(spec) ?? fail(`Invalid format specifier '${spec}'`);
  const layout: Layout = {
    fill: fill ?? (zero ? "0" : " "),
    align: (align ?? (zero ? "=" : "")) as Layout["align"],
    sign: (sign ?? "-") as Layout["sign"],
    isAlternate: alternate !== undefined,
    width: Number(width ?? 0),
    grouping: (grouping ?? "") as Layout["grouping"],
    precision: precision === undefined ? null : Number(precision),
  };
  checkLength(rt.limits, layout.width);
  if (value.kind === "text") return textSpec(value, type, layout, zero !== undefined && align === undefined);
  const n = numberOf(value);
  if (n === null) return fail(`unsupported format string passed to ${typeName(value)}.__format__`);
  if (type === "c" && typeof n === "bigint")
    return laidOut(textOf(String.fromCodePoint(Number(n)), originOf(value)), layout);
  if (typeof n === "bigint" && layout.precision !== null && "bcdoxX".includes(type || "d"))
    fail("Precision not allowed in integer format specifier");
  if (typeof n === "number" && "bcdoxX".includes(type || "e"))
    fail(`Unknown format code '${type}' for object of type 'float'`);
  return textOf(numberText(n, type === "n" ? "d" : type, layout), originOf(value));
}

function textSpec(value: Text, type: string, layout: Layout, isZero: boolean): Text {
  if (type !== "" && type !== "s") fail(`Unknown format code '${type}' for object of type 'str'`);
  if (layout.align === "=" && !isZero) fail("'=' alignment not allowed in string format specifier");
  if (layout.sign !== "-" || layout.grouping !== "") fail("Sign not allowed in string format specifier");
  return laidOut(value, isZero ? { ...layout, align: "<" } : layout);
}
