import type { Filter } from "./filter.ts";
import { fail } from "./limits.ts";
import { attributeGetter } from "./list-filters.ts";
import { fixed } from "./numbers.ts";
import { binary, number, toFloat } from "./operators.ts";
import { bind, intArg } from "./state.ts";
import { textOf } from "./text.ts";
import { float, int, isTrue, itemsOf, numberOf, originOf, sizeOf, typeName, type Value } from "./values.ts";

const INT_TEXT: Readonly<Record<number, RegExp>> = {
  2: /^[-+]?(?:0b_?)?[01](?:_?[01])*$/i,
  8: /^[-+]?(?:0o_?)?[0-7](?:_?[0-7])*$/i,
  10: /^[-+]?\d(?:_?\d)*$/,
  16: /^[-+]?(?:0x_?)?[\da-f](?:_?[\da-f])*$/i,
};
const PREFIX: Readonly<Record<number, string>> = { 2: "0b", 8: "0o", 10: "", 16: "0x" };

/** Python's `int(text, base)`; null where it fails. */
function parseInteger(text: string, base: number): bigint | null {
  const trimmed = text.trim();
  if (base === 0) {
    const found = [2, 8, 16].find((b) =>
      trimmed
        .replace(/^[-+]/, "")
        .toLowerCase()
        .startsWith(PREFIX[b] as string),
    );
    return parseInteger(trimmed, found ?? 10);
  }
  const pattern = INT_TEXT[base] ?? fail(`int() with base ${base} is not supported`);
  if (!pattern.test(trimmed) || trimmed.length > 4300) return null;
  const digits = trimmed
    .replaceAll("_", "")
    .replace(/^[-+]/, "")
    .replace(/^0[box]/i, "");
  const value = BigInt(PREFIX[base] + digits);
  return trimmed.startsWith("-") ? -value : value;
}

/** Python's `float(text)`; null where it fails. */
function parseFloatText(text: string): number | null {
  const trimmed = text.trim().toLowerCase();
  const special = /^([-+]?)(inf|infinity|nan)$/.exec(trimmed);
  if (special) return special[2] === "nan" ? Number.NaN : special[1] === "-" ? -Infinity : Infinity;
  if (!/^[-+]?(?:\d(?:_?\d)*\.?(?:\d(?:_?\d)*)?|\.\d(?:_?\d)*)(?:e[-+]?\d(?:_?\d)*)?$/.test(trimmed))
    return null;
  return Number(trimmed.replaceAll("_", ""));
}

const toInt: Filter = (_rt, value, args) => {
  const [absent = int(0), base] = bind("int", args, ["default", "base"]);
  const origin = originOf(value);
  const whole = value.kind === "text" ? parseInteger(value.text, intArg(base, 10)) : null;
  if (whole !== null) return int(whole, origin);
  const n = value.kind === "text" ? parseFloatText(value.text) : numberOf(value);
  if (value.kind === "undefined") fail(value.message);
  if (n === null) return absent;
  if (typeof n === "bigint") return int(n, origin);
  return Number.isFinite(n) ? int(BigInt(Math.trunc(n)), origin) : absent;
};

const toFloatFilter: Filter = (_rt, value, args) => {
  const [absent = float(0)] = bind("float", args, ["default"]);
  if (value.kind === "undefined") fail(value.message);
  const n = value.kind === "text" ? parseFloatText(value.text) : numberOf(value);
  return n === null ? absent : float(toFloat(n), originOf(value));
};

const round: Filter = (_rt, value, args) => {
  const [precision, method] = bind("round", args, ["precision", "method"]);
  const how = method === undefined ? "common" : method.kind === "text" ? method.text : "";
  if (!["common", "ceil", "floor"].includes(how)) fail("method must be common, ceil or floor");
  const n = numberOf(value);
  if (n === null)
    return fail(
      value.kind === "undefined" ? value.message : `type ${typeName(value)} doesn't define __round__ method`,
    );
  const places = intArg(precision, 0);
  return number(how === "common" ? rounded(n, places) : directed(n, places, how), originOf(value));
};

function directed(n: bigint | number, places: number, how: string): number {
  const scale = 10 ** places;
  return Math[how as "ceil" | "floor"](toFloat(n) * scale) / scale;
}

/** Python's `round`: exact halves to even. */
function rounded(n: bigint | number, places: number): bigint | number {
  if (typeof n === "bigint") {
    if (places >= 0) return n;
    const scale = 10n ** BigInt(Math.min(5000, -places));
    const low = n - (((n % scale) + scale) % scale);
    const twice = 2n * (n - low);
    const isUp = twice > scale || (twice === scale && (low / scale) % 2n !== 0n);
    return isUp ? low + scale : low;
  }
  if (!Number.isFinite(n) || places > 100) return n;
  if (places >= 0) return (n < 0 ? -1 : 1) * Number(fixed(Math.abs(n), places));
  const scale = 10 ** -places;
  return Number(fixed(n / scale, 0)) * scale;
}

const abs: Filter = (_rt, value, args) => {
  bind("abs", args, []);
  const n = numberOf(value);
  if (n === null)
    return fail(
      value.kind === "undefined" ? value.message : `bad operand type for abs(): '${typeName(value)}'`,
    );
  return number(typeof n === "bigint" ? (n < 0n ? -n : n) : Math.abs(n), originOf(value));
};

const sum: Filter = (rt, value, args) => {
  const [attribute, start = int(0)] = bind("sum", args, ["attribute", "start"]);
  const get = attributeGetter(rt, attribute);
  if (start.kind === "text") fail("sum() can't sum strings");
  return itemsOf(rt.limits, value).reduce<Value>((total, item) => binary(rt, "+", total, get(item)), start);
};

const size: Filter = (_rt, value, args) => {
  bind("length", args, []);
  return int(sizeOf(value));
};

const UNITS = ["k", "M", "G", "T", "P", "E", "Z", "Y"];

const filesizeformat: Filter = (_rt, value, args) => {
  const [binaryFlag] = bind("filesizeformat", args, ["binary"]);
  const isBinary = binaryFlag !== undefined && isTrue(binaryFlag);
  const n = value.kind === "text" ? parseFloatText(value.text) : numberOf(value);
  if (n === null) return fail("filesizeformat needs a number");
  const bytes = toFloat(n);
  const base = isBinary ? 1024 : 1000;
  if (bytes === 1) return textOf("1 Byte", originOf(value));
  if (bytes < base) return textOf(`${Math.trunc(bytes)} Bytes`, originOf(value));
  const i = Math.max(
    0,
    UNITS.findIndex((_, p) => bytes < base ** (p + 2)),
  );
  const power = bytes < base ** (UNITS.length + 1) ? i : UNITS.length - 1;
  const name = UNITS[power] as string;
  return textOf(
    `${fixed((base * bytes) / base ** (power + 2), 1)} ${isBinary ? `${name.toUpperCase()}i` : name}B`,
    originOf(value),
  );
};

export const NUMBER_FILTERS: Readonly<Record<string, Filter>> = {
  abs,
  count: size,
  filesizeformat,
  float: toFloatFilter,
  int: toInt,
  length: size,
  round,
  sum,
};
