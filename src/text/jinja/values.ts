import type { Limits } from "./limits.ts";
import { fail, MAX_DEPTH, tick, tickText } from "./limits.ts";
import { charactersOf, compareText, lengthOf, type Origin, TEMPLATE, type Text } from "./text.ts";

/** A value of a template: never an object of JavaScript's own, so that nothing of JavaScript can be reached. */
export type Value =
  | Undefined
  | None
  | Bool
  | Int
  | Float
  | Text
  | Sequence
  | Dict
  | Range
  | Stream
  | Func
  | Obj;

/** jinja2's Undefined: prints nothing, is false and empty; anything else done with it fails with `message`. */
export interface Undefined {
  readonly kind: "undefined";
  readonly message: string;
}
export interface None {
  readonly kind: "none";
  readonly origin: Origin;
}
export interface Bool {
  readonly kind: "bool";
  readonly value: boolean;
  readonly origin: Origin;
}
export interface Int {
  readonly kind: "int";
  readonly value: bigint;
  readonly origin: Origin;
}
export interface Float {
  readonly kind: "float";
  readonly value: number;
  readonly origin: Origin;
}
/** A list or tuple. Neither can be changed: the sandbox refuses methods that would. */
export interface Sequence {
  readonly kind: "list" | "tuple";
  readonly items: readonly Value[];
  readonly origin: Origin;
  /** Names of a tuple's items (`groupby` gives such). */
  readonly names?: readonly string[];
}
export interface Entry {
  readonly key: Value;
  readonly value: Value;
  /** Path to note when the value is read; null where it is not the caller's, or is noted already. */
  readonly path: string | null;
}
export interface Dict {
  readonly kind: "dict";
  /** By hash. */
  readonly entries: ReadonlyMap<string, Entry>;
  readonly origin: Origin;
  /** Where paths are noted. */
  readonly reads: Set<string> | null;
}
export interface Range {
  readonly kind: "range";
  readonly start: bigint;
  readonly stop: bigint;
  readonly step: bigint;
  readonly length: number;
}
/** What can be iterated, as a generator once, as a dict's view again and again. */
export interface Stream {
  readonly kind: "stream";
  /** Python's name for the type. */
  readonly name: string;
  readonly iterator: Iterator<Value> | null;
  readonly view: Sequence | null;
}
/** Arguments of a call. */
export interface Args {
  readonly values: readonly Value[];
  readonly named: ReadonlyMap<string, Value>;
}
export interface Func {
  readonly kind: "func";
  readonly name: string;
  readonly call: (args: Args) => Value;
}
/** A thing with attributes: a namespace, `loop`, a macro, `cycler`, `joiner`. */
export interface Obj {
  readonly kind: "object";
  readonly name: string;
  readonly get: (name: string) => Value | undefined;
  readonly set?: (name: string, value: Value) => void;
  readonly call?: (args: Args) => Value;
  readonly iterate?: () => Iterator<Value>;
  readonly length?: () => number;
  /** What `repr` shows behind the name. */
  readonly details?: () => Text;
}

export const NONE: None = { kind: "none", origin: TEMPLATE };
const TRUE: Bool = { kind: "bool", value: true, origin: TEMPLATE };
const FALSE: Bool = { kind: "bool", value: false, origin: TEMPLATE };
export const bool = (value: boolean): Bool => (value ? TRUE : FALSE);
export const int = (value: bigint | number, origin: Origin = TEMPLATE): Int => ({
  kind: "int",
  value: typeof value === "bigint" ? value : BigInt(value),
  origin,
});
export const float = (value: number, origin: Origin = TEMPLATE): Float => ({ kind: "float", value, origin });
export const list = (items: readonly Value[], origin: Origin = TEMPLATE): Sequence => ({
  kind: "list",
  items,
  origin,
});
export const tuple = (items: readonly Value[], origin: Origin = TEMPLATE): Sequence => ({
  kind: "tuple",
  items,
  origin,
});
export const undef = (message: string): Undefined => ({ kind: "undefined", message });
export const stream = (iterator: Iterator<Value>, name = "generator"): Stream => ({
  kind: "stream",
  name,
  iterator,
  view: null,
});
export const func = (name: string, call: (args: Args) => Value): Func => ({ kind: "func", name, call });

/** A dict of keys and values that are not the caller's fields. */
export function dict(pairs: Iterable<readonly [Value, Value]>, origin: Origin = TEMPLATE): Dict {
  const entries = new Map<string, Entry>();
  for (const [key, value] of pairs) {
    const hash = hashOf(key);
    entries.set(hash, { key: entries.get(hash)?.key ?? key, value, path: null });
  }
  return { kind: "dict", entries, origin, reads: null };
}

/** Value of an entry; notes that it was read. */
export function readEntry(from: Dict, entry: Entry): Value {
  if (entry.path !== null) from.reads?.add(entry.path);
  return entry.value;
}

/** Python's name of a value's type. */
export function typeName(value: Value): string {
  switch (value.kind) {
    case "undefined":
      return "Undefined";
    case "none":
      return "NoneType";
    case "text":
      return value.markup ? "Markup" : "str";
    case "func":
      return "function";
    case "stream":
    case "object":
      return value.name;
    default:
      return value.kind;
  }
}

export function isTrue(value: Value): boolean {
  switch (value.kind) {
    case "undefined":
    case "none":
      return false;
    case "bool":
      return value.value;
    case "int":
      return value.value !== 0n;
    case "float":
      return value.value !== 0;
    case "text":
      return value.text !== "";
    case "list":
    case "tuple":
      return value.items.length > 0;
    case "dict":
      return value.entries.size > 0;
    case "range":
      return value.length > 0;
    case "stream":
      return value.view === null || value.view.items.length > 0;
    case "func":
      return true;
    case "object":
      return value.length === undefined || value.length() > 0;
  }
}

/** Value of a number or bool; null for anything else. */
export function numberOf(value: Value): bigint | number | null {
  if (value.kind === "int" || value.kind === "float") return value.value;
  return value.kind === "bool" ? BigInt(value.value) : null;
}

/** Where a value comes from, as far as it is one thing. */
export function originOf(value: Value): Origin {
  return "origin" in value ? value.origin : TEMPLATE;
}

/** Key under which a dict or set holds a value: equal for values that Python finds equal. */
export function hashOf(value: Value, depth = 0): string {
  if (depth > MAX_DEPTH) fail("values are nested too deeply");
  if (value.kind === "text") return `t${value.text}`;
  const number = numberOf(value);
  if (number !== null) return `n${number}`; // 1, 1.0 and True are one key
  if (value.kind === "none" || value.kind === "undefined") return value.kind;
  if (value.kind === "tuple")
    return `(${value.items
      .map((v) => hashOf(v, depth + 1))
      .map((h) => `${h.length}:${h}`)
      .join("")})`;
  if (value.kind === "func" || value.kind === "object" || value.kind === "stream" || value.kind === "range")
    return `o${identityOf(value)}`;
  return fail(`unhashable type: '${typeName(value)}'`);
}

const identities = new WeakMap<object, number>();
let lastIdentity = 0;
function identityOf(value: object): number {
  const known = identities.get(value);
  if (known !== undefined) return known;
  identities.set(value, ++lastIdentity);
  return lastIdentity;
}

export function equals(limits: Limits, a: Value, b: Value, depth = 0): boolean {
  if (a === b) return true;
  if (depth > MAX_DEPTH) fail("values are nested too deeply");
  tick(limits, 1);
  if (a.kind === "text") {
    if (b.kind !== "text" || a.text.length !== b.text.length) return false;
    tickText(limits, a.text.length);
    return a.text === b.text;
  }
  const [x, y] = [numberOf(a), numberOf(b)];
  // biome-ignore lint/suspicious/noDoubleEquals: a bigint and a number of the same value are equal.
  if (x !== null || y !== null) return x !== null && y !== null && x == y;
  if (a.kind !== b.kind) return false;
  if (a.kind === "list" || a.kind === "tuple") {
    const other = (b as Sequence).items;
    return (
      a.items.length === other.length &&
      a.items.every((v, i) => equals(limits, v, other[i] as Value, depth + 1))
    );
  }
  if (a.kind === "dict") {
    const other = (b as Dict).entries;
    if (a.entries.size !== other.size) return false;
    for (const [hash, entry] of a.entries) {
      const match = other.get(hash);
      if (match === undefined || !equals(limits, entry.value, match.value, depth + 1)) return false;
    }
    return true;
  }
  if (a.kind === "range") {
    const other = b as Range;
    return (
      a.length === other.length &&
      (a.length === 0 || (a.start === other.start && (a.length === 1 || a.step === other.step)))
    );
  }
  return a.kind === "none" || a.kind === "undefined";
}

/** Order of two values, as `<` sees it: negative, zero, positive, NaN where none holds.
 *  @throws TemplateFault if Python cannot order them. */
export function compare(limits: Limits, a: Value, b: Value, depth = 0): number {
  if (depth > MAX_DEPTH) fail("values are nested too deeply");
  tick(limits, 1);
  if (a.kind === "undefined") fail(a.message);
  if (b.kind === "undefined") fail(b.message);
  if (a.kind === "text" && b.kind === "text") {
    tickText(limits, Math.min(a.text.length, b.text.length));
    return compareText(a.text, b.text);
  }
  const [x, y] = [numberOf(a), numberOf(b)];
  // biome-ignore lint/suspicious/noDoubleEquals: a bigint and a number of the same value are equal.
  if (x !== null && y !== null) return x < y ? -1 : x > y ? 1 : x == y ? 0 : Number.NaN;
  if ((a.kind === "list" || a.kind === "tuple") && a.kind === b.kind) {
    for (let i = 0; i < a.items.length && i < b.items.length; i++) {
      const [p, q] = [a.items[i] as Value, b.items[i] as Value];
      if (!equals(limits, p, q, depth + 1)) return compare(limits, p, q, depth + 1);
    }
    return a.items.length - b.items.length;
  }
  return fail(`'<' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`);
}

/** Python's `len`. */
export function sizeOf(value: Value): number {
  switch (value.kind) {
    case "undefined":
      return 0;
    case "text":
      return lengthOf(value.text);
    case "list":
    case "tuple":
      return value.items.length;
    case "dict":
      return value.entries.size;
    case "range":
      return value.length;
    case "stream":
      if (value.view !== null) return value.view.items.length;
      break;
    case "object":
      if (value.length !== undefined) return value.length();
  }
  return fail(`object of type '${typeName(value)}' has no len()`);
}

/** Python's `iter`. */
export function iterate(value: Value): Iterator<Value> {
  switch (value.kind) {
    case "undefined":
      return [][Symbol.iterator]();
    case "text":
      return charactersOf(value);
    case "list":
    case "tuple":
      return value.items[Symbol.iterator]();
    case "dict":
      return keysOf(value);
    case "range":
      return rangeItems(value);
    case "stream":
      return value.view !== null ? value.view.items[Symbol.iterator]() : (value.iterator as Iterator<Value>);
    case "object":
      if (value.iterate !== undefined) return value.iterate();
  }
  return fail(`'${typeName(value)}' object is not iterable`);
}

export const canIterate = (value: Value): boolean =>
  !["none", "bool", "int", "float", "func"].includes(value.kind) &&
  (value.kind !== "object" || value.iterate !== undefined);

function* keysOf(value: Dict): Generator<Value> {
  for (const entry of value.entries.values()) yield entry.key;
}

function* rangeItems(range: Range): Generator<Value> {
  for (let i = 0; i < range.length; i++) yield int(range.start + BigInt(i) * range.step);
}

/** All items, each a step. */
export function itemsOf(limits: Limits, value: Value): readonly Value[] {
  if (value.kind === "list" || value.kind === "tuple") {
    tick(limits, value.items.length);
    return value.items;
  }
  const items: Value[] = [];
  const iterator = iterate(value);
  for (let next = iterator.next(); !next.done; next = iterator.next()) {
    tick(limits, 1);
    items.push(next.value);
  }
  return items;
}

/** Items of a list or tuple made anew, with the origin of what they were taken from. */
export function listFrom(limits: Limits, value: Value): Sequence {
  return list(itemsOf(limits, value), originOf(value));
}
