import type { Budget } from "./budget.ts";
import { TemplateError } from "./errors.ts";
import { characterCount, characters, concat, EMPTY, slice, Text, textOf, unitOffset } from "./text.ts";
import {
  compare,
  Dict,
  equals,
  isNumber,
  itemsOf,
  List,
  numberOf,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";
import { repr, str } from "./write.ts";

function unsupported(operator: string, a: Value, b: Value): never {
  for (const value of [a, b]) if (value instanceof Undefined) throw new TemplateError(value.reason);
  throw new TemplateError(
    `unsupported operand type(s) for ${operator}: '${typeName(a)}' and '${typeName(b)}'`,
  );
}

/** Python's arithmetic, `+` of texts and lists, `*` of a text or list with an int, `%` of a text.
 *  @throws TemplateError for operands that do not go together */
export function arithmetic(operator: string, a: Value, b: Value, budget: Budget): Value {
  if (isNumber(a) && isNumber(b)) return numeric(operator, numberOf(a), numberOf(b));
  if (operator === "+" && a instanceof Text && b instanceof Text) return joinTexts([a, b], budget);
  if (operator === "+" && a instanceof List && b instanceof List && a.isTuple === b.isTuple) {
    budget.made(a.items.length + b.items.length);
    return new List([...a.items, ...b.items], a.isTuple, a.path ?? b.path);
  }
  if (operator === "%" && a instanceof Text) return percentFormat(a, b, budget);
  if (operator === "*") {
    const [sequence, count] = isNumber(a) ? [b, a] : [a, b];
    if (
      isNumber(count) &&
      typeof count !== "number" &&
      (sequence instanceof Text || sequence instanceof List)
    )
      return repeated(sequence, Number(numberOf(count)), budget);
  }
  return unsupported(operator, a, b);
}

/** Texts one after the other. */
export function joinTexts(parts: readonly Text[], budget: Budget): Text {
  budget.made(parts.reduce((n, part) => n + part.length, 0));
  return concat(parts);
}

function repeated(sequence: Text | List, count: number, budget: Budget): Value {
  const times = Math.max(0, count);
  const length = sequence instanceof Text ? sequence.length : sequence.items.length;
  budget.made(length * times);
  if (length === 0) return sequence;
  if (sequence instanceof Text) return concat(Array.from({ length: times }, () => sequence));
  return new List(
    Array.from({ length: times }, () => sequence.items).flat(),
    sequence.isTuple,
    sequence.path,
  );
}

function numeric(operator: string, a: bigint | number, b: bigint | number): Value {
  const isInteger = typeof a === "bigint" && typeof b === "bigint";
  if (["/", "//", "%"].includes(operator) && Number(b) === 0) throw new TemplateError("division by zero");
  if (operator === "/") return Number(a) / Number(b);
  if (isInteger) return integers(operator, a, b);
  const [x, y] = [Number(a), Number(b)];
  switch (operator) {
    case "+":
      return x + y;
    case "-":
      return x - y;
    case "*":
      return x * y;
    case "//":
      return Math.floor(x / y);
    case "%":
      return x - y * Math.floor(x / y);
    default:
      return x ** y;
  }
}

/** Bits that an int may have: no template counts further. */
const MAX_BITS = 4096;

function integers(operator: string, a: bigint, b: bigint): Value {
  const floor = (): bigint => a / b - (a % b !== 0n && a < 0n !== b < 0n ? 1n : 0n);
  const bits = (n: bigint): number => n.toString(16).length * 4;
  switch (operator) {
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      if (bits(a) + bits(b) > MAX_BITS) throw new TemplateError("an integer grows too large");
      return a * b;
    case "//":
      return floor();
    case "%":
      return a - b * floor();
    default:
      if (b < 0n) return Number(a) ** Number(b);
      if (BigInt(bits(a)) * b > BigInt(MAX_BITS)) throw new TemplateError("an integer grows too large");
      return a ** b;
  }
}

/** `%s`, `%d`, `%r`, `%f` and their widths, with the values of a tuple, or one value. */
function percentFormat(format: Text, value: Value, budget: Budget): Text {
  const values = value instanceof List && value.isTuple ? [...value.items] : [value];
  const parts: Text[] = [];
  let at = 0;
  for (const match of format.value.matchAll(/%(?:\((\w+)\))?([-0 +]*)(\d*)(?:\.(\d+))?([sdrifx%])/g)) {
    const [whole, name, flags = "", width = "", precision, kind = "s"] = match;
    parts.push(slice(format, at, match.index));
    at = match.index + whole.length;
    if (kind === "%") parts.push(slice(format, at - 1, at));
    else {
      const item =
        name === undefined ? values.shift() : value instanceof Dict ? value.get(textOf(name)) : undefined;
      if (item === undefined) throw new TemplateError("not enough arguments for format string");
      parts.push(padded(formatItem(item, kind, precision), flags, Number(width), budget));
    }
  }
  return joinTexts([...parts, slice(format, at)], budget);
}

function formatItem(item: Value, kind: string, precision: string | undefined): Text {
  if (kind === "s") return str(item);
  if (kind === "r") return repr(item);
  if (!isNumber(item))
    throw new TemplateError(`%${kind} format: a number is required, not ${typeName(item)}`);
  const number = numberOf(item);
  if (kind === "f") return textOf(Number(number).toFixed(Number(precision ?? 6)));
  const whole = typeof number === "bigint" ? number : BigInt(Math.trunc(number));
  return textOf(kind === "x" ? whole.toString(16) : String(whole));
}

function padded(text: Text, flags: string, width: number, budget: Budget): Text {
  const missing = width - characterCount(text.value);
  if (missing <= 0) return text;
  budget.made(width);
  const fill = textOf((flags.includes("0") ? "0" : " ").repeat(missing));
  return concat(flags.includes("-") ? [text, fill] : [fill, text]);
}

/** One comparison of Python's. */
export function compares(operator: string, a: Value, b: Value): boolean {
  switch (operator) {
    case "==":
      return equals(a, b);
    case "!=":
      return !equals(a, b);
    case "in":
      return contains(b, a);
    case "not in":
      return !contains(b, a);
    case "<":
      return compare(a, b, operator) < 0;
    case "<=":
      return compare(a, b, operator) <= 0;
    case ">":
      return compare(a, b, operator) > 0;
    default:
      return compare(a, b, operator) >= 0;
  }
}

/** Python's `item in container`. */
export function contains(container: Value, item: Value): boolean {
  if (container instanceof Text) {
    if (item instanceof Text) return container.value.includes(item.value);
    if (item instanceof Undefined) throw new TemplateError(item.reason);
    throw new TemplateError(`'in <string>' requires string as left operand, not ${typeName(item)}`);
  }
  if (container instanceof Dict) return container.get(item) !== undefined;
  if (!(container instanceof List || container instanceof Undefined))
    throw new TemplateError(`argument of type '${typeName(container)}' is not iterable`);
  return itemsOf(container, characters).some((one) => equals(one, item));
}

/** `value[start:stop:step]`. */
export function sliced(value: Value, bounds: readonly (Value | null)[]): Value {
  const isText = value instanceof Text;
  if (value instanceof Undefined) throw new TemplateError(value.reason);
  if (!(isText || value instanceof List))
    throw new TemplateError(`'${typeName(value)}' object cannot be sliced`);
  const count = isText ? characterCount(value.value) : value.items.length;
  const [start, stop, step] = bounds.map((bound) => boundOf(bound ?? null)) as (number | null)[];
  const indices = sliceIndices(count, start ?? null, stop ?? null, step ?? 1);
  if (!isText) return new List(indices.at(value.items), value.isTuple, value.path);
  if ((step ?? 1) === 1) {
    const { from, to } = indices;
    return from >= to ? EMPTY : slice(value, unitOffset(value.value, from), unitOffset(value.value, to));
  }
  return concat(indices.at(characters(value)));
}

function boundOf(value: Value): number | null {
  if (value === null) return null;
  if (isNumber(value) && typeof value !== "number") return Number(numberOf(value));
  if (value instanceof Undefined) throw new TemplateError(value.reason);
  throw new TemplateError("slice indices must be integers or None");
}

/** Python's rules for slices. */
function sliceIndices(
  count: number,
  start: number | null,
  stop: number | null,
  step: number,
): { readonly from: number; readonly to: number; at<T>(items: readonly T[]): T[] } {
  if (step === 0) throw new TemplateError("slice step cannot be zero");
  const [least, most] = step > 0 ? [0, count] : [-1, count - 1];
  const clamp = (index: number): number => Math.min(most, Math.max(least, index < 0 ? index + count : index));
  const from = start === null ? (step > 0 ? 0 : count - 1) : clamp(start);
  const to = stop === null ? (step > 0 ? count : -1) : clamp(stop);
  return {
    from,
    to,
    at: <T>(items: readonly T[]): T[] => {
      const taken: T[] = [];
      for (let i = from; step > 0 ? i < to : i > to; i += step) taken.push(items[i] as T);
      return taken;
    },
  };
}
