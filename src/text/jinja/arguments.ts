import { TemplateError } from "./errors.ts";
import { Text } from "./text.ts";
import { type CallArguments, isNumber, numberOf, truthy, typeName, Undefined, type Value } from "./values.ts";

/** Arguments of a function by the names of its parameters; those left out are undefined.
 *  @throws TemplateError for too many, unknown ones, and one given twice */
export function bind(
  name: string,
  { positional, named }: CallArguments,
  parameters: readonly string[],
): Readonly<Record<string, Value | undefined>> {
  if (positional.length > parameters.length)
    throw new TemplateError(
      `${name}() takes at most ${parameters.length} arguments, got ${positional.length}`,
    );
  const bound: Record<string, Value | undefined> = {};
  positional.forEach((value, i) => {
    bound[parameters[i] as string] = value;
  });
  for (const [key, value] of named) {
    if (!parameters.includes(key)) throw new TemplateError(`${name}() got an unexpected argument '${key}'`);
    if (bound[key] !== undefined) throw new TemplateError(`${name}() got several values for '${key}'`);
    bound[key] = value;
  }
  return bound;
}

/** An int; `fallback` where it is left out. @throws TemplateError for another value */
export function integer(value: Value | undefined, fallback?: number): number {
  if (value === undefined && fallback !== undefined) return fallback;
  if (value !== undefined && isNumber(value) && typeof value !== "number") return Number(numberOf(value));
  throw new TemplateError(`expected an integer, got ${value === undefined ? "nothing" : typeName(value)}`);
}

/** A str. @throws TemplateError for another value */
export function text(value: Value | undefined): Text {
  if (value instanceof Text) return value;
  if (value instanceof Undefined) throw new TemplateError(value.reason);
  throw new TemplateError(`expected a str, got ${value === undefined ? "nothing" : typeName(value)}`);
}

/** A str, or null where it is left out or None. */
export function optionalText(value: Value | undefined): Text | null {
  return value === undefined || value === null ? null : text(value);
}

/** A truth value; `fallback` where it is left out. */
export function flag(value: Value | undefined, fallback = false): boolean {
  return value === undefined ? fallback : truthy(value);
}
