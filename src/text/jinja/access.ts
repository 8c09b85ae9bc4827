import type { Budget } from "./budget.ts";
import { TemplateError } from "./errors.ts";
import { Loop } from "./loop.ts";
import { methodOf } from "./methods.ts";
import { characterCount, slice, Text, unitOffset } from "./text.ts";
import {
  Callable,
  Dict,
  isNumber,
  List,
  Namespace,
  numberOf,
  orElse,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";
import { repr } from "./write.ts";

/** How values are looked into; what is read of the data is noted. */
export interface Access {
  attribute(value: Value, name: string): Value;
  item(value: Value, key: Value): Value;
  /** Notes that a key of a dictionary was asked for. */
  noteKey(dict: Dict, key: Value): void;
  readWhole(value: Value): void;
}

/** Access for one rendering; `read` takes the paths. */
export function createAccess(read: Set<string>, budget: Budget): Access {
  // What lies deeper than a field of a top-level item counts to that field.
  const isTop = (path: string | null): path is string => path?.endsWith("]") === true;

  const noteKey = (dict: Dict, key: Value): void => {
    if (isTop(dict.path) && key instanceof Text) read.add(`${dict.path}.${key.value}`);
  };

  const readWhole = (value: Value): void => {
    if (value instanceof List) for (const item of value.items) readWhole(item);
    if (!(value instanceof Dict)) return;
    for (const [key] of value.entries.values()) noteKey(value, key);
  };

  const missing = (value: Value, name: string): Undefined =>
    new Undefined(`'${typeName(value)} object' has no attribute '${name}'`);

  /** A method or a built-in attribute. */
  const own = (value: Value, name: string): Value | undefined => {
    if (value instanceof Loop) return value.lookup(name);
    if (value instanceof Namespace) return value.attributes.get(name);
    if (value instanceof Callable) return value.attributes.get(name);
    if (value instanceof Dict && ["items", "values", "copy"].includes(name)) readWhole(value);
    const method = methodOf(value, name, budget);
    if (method === undefined) return undefined;
    return new Callable(name, (args) => {
      if (value instanceof Dict && name === "get") noteKey(value, args.positional[0] ?? null);
      return method(args);
    });
  };

  const checkSafe = (value: Value, name: string): void => {
    if (value instanceof Undefined) throw new TemplateError(value.reason);
    if (name.startsWith("_"))
      throw new TemplateError(`access to attribute '${name}' of '${typeName(value)}' object is unsafe.`);
  };

  const keyed = (value: Value, key: Value): Value | undefined => {
    if (value instanceof Dict) {
      noteKey(value, key);
      return value.get(key);
    }
    if (!isNumber(key) || typeof key === "number" || !(value instanceof List || value instanceof Text))
      return undefined;
    const length = value instanceof List ? value.items.length : characterCount(value.value);
    const index = Number(numberOf(key));
    const at = index < 0 ? index + length : index;
    if (at < 0 || at >= length) return undefined;
    if (value instanceof List) return value.items[at];
    return slice(value, unitOffset(value.value, at), unitOffset(value.value, at + 1));
  };

  return {
    noteKey,
    readWhole,
    attribute: (value, name) => {
      checkSafe(value, name);
      const found = own(value, name);
      if (found !== undefined) return found;
      if (!(value instanceof Dict)) return missing(value, name);
      noteKey(value, new Text(name, []));
      return orElse(value.get(new Text(name, [])), missing(value, name));
    },
    item: (value, key) => {
      if (value instanceof Undefined) throw new TemplateError(value.reason);
      const found = keyed(value, key);
      if (found !== undefined) return found;
      if (key instanceof Text && !key.value.startsWith("_"))
        return orElse(own(value, key.value), missing(value, key.value));
      return new Undefined(
        value instanceof List || value instanceof Text
          ? `${typeName(value)} object has no element ${repr(key).value}`
          : `'${typeName(value)} object' has no attribute ${repr(key).value}`,
      );
    },
  };
}
