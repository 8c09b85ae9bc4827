import { ExactNumber } from "../exact-number.ts";
import { TemplateError } from "./errors.ts";
import { EMPTY, Text, textOf } from "./text.ts";

/** A value of a template: Python's str, int (bigint), float (number), bool, None (null), and the classes below. */
export type Value = Text | bigint | number | boolean | null | Undefined | List | Dict | Namespace | Callable;

/** Jinja's undefined: prints as nothing, holds nothing; using it otherwise is an error. */
export class Undefined {
  /** What is missing, as jinja2 says it. */
  readonly reason: string;

  constructor(reason: string) {
    this.reason = reason;
  }
}

/** A list or a tuple. */
export class List {
  readonly items: readonly Value[];
  readonly isTuple: boolean;
  /** Where it stands in the data. */
  readonly path: string | null;

  constructor(items: readonly Value[], isTuple = false, path: string | null = null) {
    this.items = items;
    this.isTuple = isTuple;
    this.path = path;
  }
}

/** A dictionary with Python's keys. */
export class Dict {
  readonly entries: Map<string, readonly [key: Value, value: Value]>;
  /** Where it stands in the data. */
  readonly path: string | null;

  constructor(entries: Iterable<readonly [Value, Value]> = [], path: string | null = null) {
    this.entries = new Map();
    this.path = path;
    for (const [key, value] of entries) this.entries.set(keyOf(key), [key, value]);
  }

  get(key: Value): Value | undefined {
    return this.entries.get(keyOf(key))?.[1];
  }
}

/** `namespace(…)`: the one thing whose attributes a template may set. */
export class Namespace {
  readonly attributes: Map<string, Value>;

  constructor(attributes: Iterable<readonly [string, Value]> = []) {
    this.attributes = new Map(attributes);
  }
}

/** Arguments of a call, evaluated. */
export interface CallArguments {
  readonly positional: readonly Value[];
  readonly named: ReadonlyMap<string, Value>;
}

/** A function, method or macro. */
export class Callable {
  readonly name: string;
  readonly call: (args: CallArguments) => Value;
  /** Values under names beside it (`caller`, loops). */
  readonly attributes: ReadonlyMap<string, Value>;

  constructor(
    name: string,
    call: (args: CallArguments) => Value,
    attributes: Iterable<readonly [string, Value]> = [],
  ) {
    this.name = name;
    this.call = call;
    this.attributes = new Map(attributes);
  }
}

/** Key of a value in a dictionary: equal values have equal keys. @throws TemplateError for values that cannot be one */
export function keyOf(value: Value): string {
  if (value instanceof Text) return `s${value.value}`;
  if (value === null) return "none";
  if (typeof value === "boolean") return `n${value ? 1 : 0}`;
  if (typeof value === "bigint") return `n${value}`;
  if (typeof value === "number") return Number.isInteger(value) ? `n${BigInt(value)}` : `n${value}`;
  if (value instanceof List && value.isTuple) return `t${JSON.stringify(value.items.map(keyOf))}`;
  if (value instanceof Undefined) throw new TemplateError(value.reason);
  throw new TemplateError(`unhashable type: '${typeName(value)}'`);
}

/** A value, or another where there is none (None is a value). */
export function orElse(value: Value | undefined, other: Value): Value {
  return value === undefined ? other : value;
}

/** Python's name of a value's type. */
export function typeName(value: Value): string {
  if (value instanceof Text) return "str";
  if (value === null) return "NoneType";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "bigint") return "int";
  if (typeof value === "number") return "float";
  if (value instanceof List) return value.isTuple ? "tuple" : "list";
  if (value instanceof Dict) return "dict";
  if (value instanceof Undefined) return "Undefined";
  return value instanceof Namespace ? "Namespace" : "function";
}

export const isNumber = (value: Value): value is bigint | number | boolean =>
  typeof value === "bigint" || typeof value === "number" || typeof value === "boolean";

/** A number of Python's kind: an int as bigint, a float as number; True is 1. */
export function numberOf(value: bigint | number | boolean): bigint | number {
  return typeof value === "boolean" ? BigInt(value) : value;
}

/** Python's truth of a value. */
export function truthy(value: Value): boolean {
  if (value instanceof Text) return value.length > 0;
  if (value instanceof List) return value.items.length > 0;
  if (value instanceof Dict) return value.entries.size > 0;
  if (value instanceof Undefined || value === null) return false;
  if (isNumber(value)) return Boolean(value);
  return true;
}

/** Python's `==`. */
export function equals(a: Value, b: Value): boolean {
  if (a instanceof Text || b instanceof Text)
    return a instanceof Text && b instanceof Text && a.value === b.value;
  if (isNumber(a) && isNumber(b)) return compare(a, b) === 0;
  if (a instanceof List && b instanceof List)
    return (
      a.isTuple === b.isTuple &&
      a.items.length === b.items.length &&
      a.items.every((item, i) => equals(item, b.items[i] as Value))
    );
  if (a instanceof Dict && b instanceof Dict)
    return (
      a.entries.size === b.entries.size &&
      [...a.entries].every(([key, [, value]]) => {
        const other = b.entries.get(key);
        return other !== undefined && equals(value, other[1]);
      })
    );
  if (a instanceof Undefined) return b instanceof Undefined;
  return a === b;
}

/** Negative, 0 or positive, as Python orders two values. @throws TemplateError for values without an order */
export function compare(a: Value, b: Value, operator = "<"): number {
  if (isNumber(a) && isNumber(b)) {
    const [x, y] = [numberOf(a), numberOf(b)];
    return x < y ? -1 : x > y ? 1 : 0;
  }
  if (a instanceof Text && b instanceof Text) return compareTexts(a.value, b.value);
  if (a instanceof List && b instanceof List && a.isTuple === b.isTuple) {
    for (const [i, item] of a.items.entries()) {
      const other = b.items[i];
      if (other === undefined) return 1;
      if (!equals(item, other)) return compare(item, other, operator);
    }
    return a.items.length - b.items.length;
  }
  for (const value of [a, b]) if (value instanceof Undefined) throw new TemplateError(value.reason);
  throw new TemplateError(
    `'${operator}' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`,
  );
}

/** By code points, not UTF-16 units. */
function compareTexts(a: string, b: string): number {
  if (a === b) return 0;
  const [left, right] = [Array.from(a), Array.from(b)];
  const at = left.findIndex((char, i) => char !== right[i]);
  if (at < 0) return -1;
  if (at >= right.length) return 1;
  return ((left[at] as string).codePointAt(0) as number) - ((right[at] as string).codePointAt(0) as number);
}

/** What a loop goes through: items, keys, characters. @throws TemplateError for values that hold nothing */
export function itemsOf(value: Value, characters: (text: Text) => Text[]): readonly Value[] {
  if (value instanceof List) return value.items;
  if (value instanceof Dict) return [...value.entries.values()].map(([key]) => key);
  if (value instanceof Text) return characters(value);
  if (value instanceof Undefined) return [];
  throw new TemplateError(`'${typeName(value)}' object is not iterable`);
}

/** JSON data as values. Texts know the top-level item and its field that they come from: `messages[2].content`. */
export function dataValue(data: unknown, path: string, depth = 0): Value {
  if (data === null || data === undefined) return null;
  switch (typeof data) {
    case "string":
      return data === "" ? EMPTY : textOf(data, { origin: path, isGenerated: false });
    case "number":
      return Number.isInteger(data) && Math.abs(data) < 1e21 ? BigInt(data) : data;
    case "bigint":
    case "boolean":
      return data;
    case "object":
      if (data instanceof ExactNumber) return exactValue(data);
      return Array.isArray(data)
        ? new List(
            data.map((item, i) => dataValue(item, depth === 0 ? `${path}[${i}]` : path, depth + 1)),
            false,
            path,
          )
        : dictOf(data, path, depth);
    default:
      throw new TemplateError(`${path}: a ${typeof data} cannot be given to a template`);
  }
}

/** As Python's json has it: an int of any size, or a float. */
function exactValue({ digits }: ExactNumber): Value {
  return /^-?\d+$/.test(digits) ? BigInt(digits) : Number(digits);
}

function dictOf(data: object, path: string, depth: number): Dict {
  // A message's own field is named, what lies deeper counts to it.
  const below = (name: string): string => (depth === 1 ? `${path}.${name}` : path);
  const entries = Object.entries(data).map(([name, value]): [Value, Value] => [
    textOf(name, { origin: below(name), isGenerated: false }),
    dataValue(value, below(name), depth + 1),
  ]);
  return new Dict(entries, path);
}

/** A variable that belongs to the template: its texts are the template's own. */
export function templateValue(value: unknown): Value {
  if (typeof value === "string") return textOf(value);
  return dataValue(value, "");
}

/** Characters that a value of the data holds. */
export function sizeOf(value: Value): number {
  if (value instanceof Text) return value.length;
  if (value instanceof List) return value.items.reduce<number>((n, item) => n + 1 + sizeOf(item), 0);
  if (!(value instanceof Dict)) return 1;
  return [...value.entries.values()].reduce((n, [key, item]) => n + sizeOf(key) + sizeOf(item), 0);
}
