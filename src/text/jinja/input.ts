import { doubleOf, ExactNumber } from "../exact-number.ts";
import { fail, MAX_DEPTH } from "./limits.ts";
import { type Origin, TEMPLATE, textOf } from "./text.ts";
import { type Dict, type Entry, float, hashOf, int, list, type Value } from "./values.ts";

/** The variable whose items are looked at field by field: paths of others are their names. */
const MESSAGES = "messages";

/** What the caller's data weighs, for limits that grow with it. */
export interface Size {
  /** UTF-16 units of all strings. */
  characters: number;
  /** Values. */
  values: number;
}

/** The caller's variables as values of a template, each with the path it came from.
 *  @param reads Where the paths are noted that the template reads. */
export function fromData(
  data: Readonly<Record<string, unknown>>,
  reads: Set<string>,
  size: Size,
): { readonly path: string | null; readonly name: string; readonly value: Value }[] {
  return Object.entries(data).map(([name, value]) => {
    if (name === MESSAGES && Array.isArray(value))
      return { name, path: null, value: messagesOf(value, name, reads, size) };
    return { name, path: name, value: fromJson(value, originFor(name), size) };
  });
}

/** Values without a path: the template's own variables. */
export function fromTemplate(data: Readonly<Record<string, unknown>>, size: Size): [string, Value][] {
  return Object.entries(data).map(([name, value]) => [name, fromJson(value, TEMPLATE, size)]);
}

const originFor = (path: string): Origin => ({ path, generation: 0 });

function messagesOf(messages: readonly unknown[], name: string, reads: Set<string>, size: Size): Value {
  const items = messages.map((message, i): Value => {
    const path = `${name}[${i}]`;
    if (!isRecord(message)) return fromJson(message, originFor(path), size);
    return dictOf(message, originFor(path), reads, size, 1, (field) => originFor(`${path}.${field}`));
  });
  return list(items, originFor(name));
}

/** The one place where values of JavaScript become values of a template: what JSON has, and bigints. Whole numbers are
 *  integers. A field that is undefined is not there.
 *  @throws TemplateFault for anything else, and for data nested too deeply. */
export function fromJson(value: unknown, origin: Origin, size: Size, depth = 0): Value {
  if (depth > MAX_DEPTH) fail(`${origin.path ?? "a variable"} is nested too deeply`);
  size.values++;
  switch (typeof value) {
    case "string":
      size.characters += value.length;
      return textOf(value, origin);
    case "boolean":
      return { kind: "bool", value, origin };
    case "bigint":
      return int(value, origin);
    case "number":
      return Number.isInteger(value) && !Object.is(value, -0) ? int(value, origin) : float(value, origin);
    case "undefined":
      return { kind: "none", origin };
    case "object":
      if (value === null) return { kind: "none", origin };
      if (value instanceof ExactNumber) return exactValue(value, origin);
      if (Array.isArray(value))
        return list(
          value.map((item) => fromJson(item, origin, size, depth + 1)),
          origin,
        );
      if (isRecord(value)) return dictOf(value, origin, null, size, depth + 1);
  }
  return fail(`${origin.path ?? "a variable"} holds a ${typeof value} that is not JSON`);
}

/** As Python's json has it: an int of any size, or a float. */
function exactValue(number: ExactNumber, origin: Origin): Value {
  const { digits } = number;
  return /^-?\d+$/.test(digits) ? int(BigInt(digits), origin) : float(doubleOf(number) as number, origin);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null;
}

function dictOf(
  record: Record<string, unknown>,
  origin: Origin,
  reads: Set<string> | null,
  size: Size,
  depth: number,
  originOfField: ((field: string) => Origin) | null = null,
): Dict {
  const entries = new Map<string, Entry>();
  for (const [name, value] of Object.entries(record)) {
    if (value === undefined) continue;
    const own = originOfField?.(name) ?? origin;
    const key = textOf(name, own);
    size.characters += name.length;
    const path = originOfField === null ? null : own.path;
    entries.set(hashOf(key), { key, value: fromJson(value, own, size, depth), path });
  }
  return { kind: "dict", entries, origin, reads };
}
