import { escaped } from "./escape.ts";
import { checkLength, fail, tick } from "./limits.ts";
import type { BinaryOperator, CompareOperator } from "./nodes.ts";
import { formatPercent } from "./percent.ts";
import { toText } from "./print.ts";
import type { Runtime } from "./state.ts";
import { concat, type Origin, repeat, type Text } from "./text.ts";
import {
  compare,
  equals,
  float,
  hashOf,
  int,
  iterate,
  list,
  numberOf,
  originOf,
  tuple,
  typeName,
  type Value,
} from "./values.ts";

/** Integers beyond this magnitude are refused: Python could not print them either. */
const MAX_INT = 1n << 20_000n;

/** Origin of a result of two values: the caller's, if either is. */
export const joined = (a: Value, b: Value): Origin => (originOf(a).path !== null ? originOf(a) : originOf(b));

export function binary(rt: Runtime, operator: BinaryOperator, a: Value, b: Value): Value {
  if (a.kind === "text" && b.kind === "text" && operator === "+") return plus(rt, a, b);
  if (a.kind === "text" && operator === "%") return formatPercent(rt, a, b);
  if (a.kind === "undefined") fail(a.message);
  if (b.kind === "undefined") fail(b.message);
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== null && y !== null) return number(arithmetic(operator, x, y), joined(a, b));
  const both =
    operator === "+"
      ? sequencePlus(rt, a, b)
      : operator === "*"
        ? (times(rt, a, y) ?? times(rt, b, x))
        : null;
  return both ?? fail(`unsupported operand type(s) for ${operator}: '${typeName(a)}' and '${typeName(b)}'`);
}

export const number = (value: bigint | number, origin: Origin): Value =>
  typeof value === "bigint" ? int(value, origin) : float(value, origin);

/** Text + text; where one is Markup, the other is escaped. */
function plus(rt: Runtime, a: Text, b: Text): Text {
  checkLength(rt.limits, a.text.length + b.text.length);
  if (a.runs !== null || b.runs !== null)
    tick(rt.limits, ((a.runs?.length ?? 0) + (b.runs?.length ?? 0)) / 8);
  if (a.markup === b.markup) return concat([a, b], a.markup);
  return concat([escaped(rt, a), escaped(rt, b)], true);
}

function sequencePlus(rt: Runtime, a: Value, b: Value): Value | null {
  if ((a.kind !== "list" && a.kind !== "tuple") || a.kind !== b.kind) return null;
  tick(rt.limits, a.items.length + b.items.length);
  return (a.kind === "list" ? list : tuple)(
    [...a.items, ...b.items],
    a.origin === b.origin ? a.origin : undefined,
  );
}

function times(rt: Runtime, a: Value, count: bigint | number | null): Value | null {
  if (typeof count !== "bigint") return null;
  const n = count < 0n ? 0 : Number(count);
  if (a.kind === "text") {
    checkLength(rt.limits, a.text.length * n);
    rt.limits.length += a.text.length * n;
    checkLength(rt.limits, rt.limits.length);
    tick(rt.limits, 1 + (a.runs === null ? 0 : a.runs.length * n));
    return repeat(a, n);
  }
  if (a.kind !== "list" && a.kind !== "tuple") return null;
  const { items } = a;
  tick(rt.limits, items.length * n);
  return (a.kind === "list" ? list : tuple)(
    items.length === 0 ? items : new Array<readonly Value[]>(n).fill(items).flat(),
    a.origin,
  );
}

function arithmetic(operator: BinaryOperator, x: bigint | number, y: bigint | number): bigint | number {
  if (typeof x === "bigint" && typeof y === "bigint") {
    const result = integers(operator, x, y);
    if (typeof result === "bigint" && (result > MAX_INT || result < -MAX_INT))
      fail("an integer is too large");
    return result;
  }
  const [p, q] = [toFloat(x), toFloat(y)];
  if (q === 0 && (operator === "/" || operator === "//" || operator === "%")) fail("float division by zero");
  switch (operator) {
    case "+":
      return p + q;
    case "-":
      return p - q;
    case "*":
      return p * q;
    case "/":
      return p / q;
    case "//":
      return Math.floor(p / q);
    case "%": {
      const rest = p % q;
      return rest !== 0 && rest < 0 !== q < 0 ? rest + q : rest === 0 ? (q < 0 ? -0 : 0) : rest;
    }
    case "**":
      if (p === 0 && q < 0) fail("0.0 cannot be raised to a negative power");
      if (p < 0 && !Number.isInteger(q)) fail("complex numbers are not supported");
      return p ** q;
  }
}

/** @throws TemplateFault if an integer is too large for a float. */
export function toFloat(value: bigint | number): number {
  const result = Number(value);
  if (typeof value === "bigint" && !Number.isFinite(result)) fail("int too large to convert to float");
  return result;
}

function integers(operator: BinaryOperator, x: bigint, y: bigint): bigint | number {
  if (y === 0n && (operator === "/" || operator === "//" || operator === "%"))
    fail(operator === "/" ? "division by zero" : "integer division or modulo by zero");
  switch (operator) {
    case "+":
      return x + y;
    case "-":
      return x - y;
    case "*":
      return x * y;
    case "/":
      return toFloat(x) / toFloat(y);
    case "//":
      return floorDivide(x, y);
    case "%":
      return x - floorDivide(x, y) * y;
    case "**":
      return power(x, y);
  }
}

function floorDivide(x: bigint, y: bigint): bigint {
  const quotient = x / y;
  return x % y !== 0n && x < 0n !== y < 0n ? quotient - 1n : quotient;
}

function power(x: bigint, y: bigint): bigint | number {
  if (y < 0n) {
    if (x === 0n) fail("0.0 cannot be raised to a negative power");
    return toFloat(x) ** Number(y);
  }
  const magnitude = x < 0n ? -x : x;
  if (magnitude > 1n && y * BigInt(magnitude.toString(2).length - 1) > 20_000n)
    fail("an integer is too large");
  return x ** y;
}

export function compareBy(rt: Runtime, operator: CompareOperator, a: Value, b: Value): boolean {
  switch (operator) {
    case "==":
      return equals(rt.limits, a, b);
    case "!=":
      return !equals(rt.limits, a, b);
    case "<":
      return compare(rt.limits, a, b) < 0;
    case "<=":
      return compare(rt.limits, a, b) <= 0;
    case ">":
      return compare(rt.limits, a, b) > 0;
    case ">=":
      return compare(rt.limits, a, b) >= 0;
    case "in":
      return contains(rt, b, a);
    case "not in":
      return !contains(rt, b, a);
  }
}

/** Python's `item in container`. */
export function contains(rt: Runtime, container: Value, item: Value): boolean {
  if (container.kind === "text") {
    if (item.kind !== "text") fail(`'in <string>' requires string as left operand, not ${typeName(item)}`);
    tick(rt.limits, 1 + container.text.length / 64);
    return container.text.includes(item.text);
  }
  if (container.kind === "dict") return container.entries.has(hashOf(item));
  if (["none", "bool", "int", "float", "func"].includes(container.kind))
    fail(`argument of type '${typeName(container)}' is not iterable`);
  const iterator = iterate(container);
  for (let next = iterator.next(); !next.done; next = iterator.next())
    if (equals(rt.limits, next.value, item)) return true;
  return false;
}

export function negate(value: Value, sign: 1 | -1): Value {
  if (value.kind === "undefined") fail(value.message);
  const n = numberOf(value);
  if (n === null) return fail(`bad operand type for unary ${sign < 0 ? "-" : "+"}: '${typeName(value)}'`);
  return number(sign < 0 ? -n : n, originOf(value));
}

/** The `~` operator: all parts as text, nothing escaped. */
export function tilde(rt: Runtime, parts: readonly Value[]): Text {
  const texts = parts.map((part) => toText(rt.limits, part));
  checkLength(
    rt.limits,
    texts.reduce((sum, t) => sum + t.text.length, 0),
  );
  return concat(texts);
}
