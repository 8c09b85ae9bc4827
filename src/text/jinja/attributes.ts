import { dictMethod } from "./dict-methods.ts";
import { fail, tick } from "./limits.ts";
import { sequenceMethod } from "./sequence-methods.ts";
import { intArg, type Runtime } from "./state.ts";
import { concat, slice as cut, offsetsOf, originAt, type Text, textOf } from "./text.ts";
import { textMethod } from "./text-methods.ts";
import {
  hashOf,
  int,
  list,
  numberOf,
  readEntry,
  tuple,
  typeName,
  type Undefined,
  undef,
  type Value,
} from "./values.ts";

/** `object.name` as jinja2's sandbox has it: an attribute of the type, else an item; undefined where there is neither.
 *  Nothing here looks at JavaScript's own properties. */
export function getAttribute(rt: Runtime, object: Value, name: string): Value {
  if (object.kind === "undefined") return fail(object.message);
  return attribute(rt, object, name) ?? item(rt, object, textOf(name)) ?? missing(object, name);
}

/** `object[index]`: an item, else an attribute. */
export function getItem(rt: Runtime, object: Value, index: Value): Value {
  if (object.kind === "undefined") return fail(object.message);
  const found = item(rt, object, index);
  if (found !== undefined) return found;
  const name = index.kind === "text" ? index.text : null;
  return (name === null ? undefined : attribute(rt, object, name)) ?? missing(object, name ?? "[…]");
}

function missing(object: Value, name: string): Undefined {
  return undef(`'${typeName(object)} object' has no attribute '${name}'`);
}

/** A method or field of a value's type; undefined where the type has none of that name. */
export function attribute(rt: Runtime, object: Value, name: string): Value | undefined {
  if (name.startsWith("__") && name.endsWith("__"))
    return DUNDERS.has(name)
      ? undef(`access to attribute '${name}' of '${typeName(object)}' object is unsafe.`)
      : undefined;
  switch (object.kind) {
    case "text":
      return textMethod(rt, object, name);
    case "list":
    case "tuple": {
      const index = object.names?.indexOf(name) ?? -1;
      return index >= 0 ? object.items[index] : sequenceMethod(rt, object, name);
    }
    case "dict":
      return dictMethod(rt, object, name);
    case "object":
      return name.startsWith("_") ? undefined : object.get(name);
    case "int":
    case "bool":
    case "float":
      return numberAttribute(object, name);
    default:
      return undefined;
  }
}

function numberAttribute(object: Value, name: string): Value | undefined {
  if (name === "real") return object;
  if (name === "imag") return int(0);
  if (object.kind !== "float" && name === "numerator") return object;
  if (object.kind !== "float" && name === "denominator") return int(1);
  return undefined;
}

/** Attributes that every object of Python has: unsafe, so undefined even where a dict has such a key. */
const DUNDERS = new Set(
  "class doc dict module init new repr str eq ne lt le gt ge hash getattribute setattr delattr dir format init_subclass subclasshook reduce reduce_ex sizeof len iter contains getitem"
    .split(" ")
    .map((name) => `__${name}__`),
);

/** An item of a dict, sequence or text; undefined where there is none. */
function item(rt: Runtime, object: Value, index: Value): Value | undefined {
  if (object.kind === "dict") {
    if (index.kind === "list" || index.kind === "dict") return undefined; // unhashable: jinja2 looks on
    const entry = object.entries.get(hashOf(index));
    return entry === undefined ? undefined : readEntry(object, entry);
  }
  if (index.kind === "object" && index.name === "slice") return slice(rt, object, index);
  const at = numberOf(index);
  if (typeof at !== "bigint") return undefined;
  switch (object.kind) {
    case "list":
    case "tuple":
      return object.items.at(position(at, object.items.length));
    case "text":
      return character(object, at);
    case "range": {
      const i = position(at, object.length);
      const from = i < 0 ? i + object.length : i;
      return from >= 0 && from < object.length ? int(object.start + BigInt(from) * object.step) : undefined;
    }
    default:
      return undefined;
  }
}

/** An index as a number; one beyond either end stays beyond it. */
const position = (at: bigint, length: number): number =>
  at >= BigInt(length) ? length : at < BigInt(-length) ? -length - 1 : Number(at);

function character(text: Text, at: bigint): Value | undefined {
  const offsets = offsetsOf(text.text);
  const length = offsets === null ? text.text.length : offsets.length - 1;
  const i = position(at, length);
  const from = i < 0 ? i + length : i;
  if (from < 0 || from >= length) return undefined;
  return offsets === null
    ? cut(text, from, from + 1)
    : cut(text, offsets[from] as number, offsets[from + 1] as number);
}

/** A slice of subscript brackets, as a value that only `item` understands. */
export function sliceOf(start: Value, stop: Value, step: Value): Value {
  const parts: Readonly<Record<string, Value>> = { start, stop, step };
  return {
    kind: "object",
    name: "slice",
    get: (name) => (Object.hasOwn(parts, name) ? parts[name] : undefined),
  };
}

function slice(rt: Runtime, object: Value, index: Value): Value | undefined {
  if (index.kind !== "object") return undefined;
  const [start, stop, step] = ["start", "stop", "step"].map((name) => index.get(name));
  const by = (length: number): readonly [number, number, number] => bounds(length, start, stop, step);
  switch (object.kind) {
    case "list":
    case "tuple": {
      const items = pick(rt, object.items, by(object.items.length));
      return object.kind === "list" ? list(items, object.origin) : tuple(items, object.origin);
    }
    case "text":
      return sliceText(rt, object, by);
    case "range": {
      const [from, to, every] = by(object.length);
      const length = Math.max(0, Math.ceil((to - from) / every));
      return {
        ...object,
        start: object.start + BigInt(from) * object.step,
        stop: object.start + BigInt(to) * object.step,
        step: object.step * BigInt(every),
        length,
      };
    }
    default:
      return undefined;
  }
}

/** Python's `slice.indices`. */
function bounds(
  length: number,
  start: Value | undefined,
  stop: Value | undefined,
  step: Value | undefined,
): readonly [number, number, number] {
  const number = (value: Value | undefined): number | null =>
    value === undefined || value.kind === "none" ? null : intArg(value, 0);
  const every = number(step) ?? 1;
  if (every === 0) fail("slice step cannot be zero");
  const [low, high] = every > 0 ? [0, length] : [-1, length - 1];
  const clamp = (at: number | null, absent: number): number =>
    at === null ? absent : Math.max(low, Math.min(high, at < 0 ? at + length : at));
  return every > 0
    ? [clamp(number(start), 0), clamp(number(stop), length), every]
    : [clamp(number(start), length - 1), clamp(number(stop), -1), every];
}

function pick<T>(
  rt: Runtime,
  items: readonly T[],
  [from, to, every]: readonly [number, number, number],
): T[] {
  tick(rt.limits, Math.max(0, (to - from) / every));
  if (every === 1) return items.slice(from, Math.max(from, to));
  const picked: T[] = [];
  for (let i = from; every > 0 ? i < to : i > to; i += every) picked.push(items[i] as T);
  return picked;
}

function sliceText(rt: Runtime, text: Text, by: (length: number) => readonly [number, number, number]): Text {
  const offsets = offsetsOf(text.text);
  const unit = (at: number): number => (offsets === null ? at : (offsets[at] as number));
  const [from, to, every] = by(offsets === null ? text.text.length : offsets.length - 1);
  tick(rt.limits, 1 + text.text.length / 64);
  if (every === 1) return to <= from ? cut(text, 0, 0) : cut(text, unit(from), unit(to));
  const picked: number[] = [];
  for (let i = from; every > 0 ? i < to : i > to; i += every) picked.push(i);
  tick(rt.limits, picked.length);
  const one = (i: number): string => text.text.slice(unit(i), unit(i + 1));
  if (text.runs === null) return textOf(picked.map(one).join(""), text.origin, text.markup);
  return concat(
    picked.map((i) => textOf(one(i), originAt(text, unit(i)))),
    text.markup,
  );
}
