import type { Limits } from "./limits.ts";
import { fail, MAX_CALL_DEPTH } from "./limits.ts";
import type { Text } from "./text.ts";
import { type Args, NONE, numberOf, typeName, type Value } from "./values.ts";

/** State of one rendering. */
export interface Runtime {
  readonly limits: Limits;
  readonly now: () => Date;
  /** Runs a filter by name (`map` does; it is one itself). */
  readonly filter: (name: string, value: Value, args: Args) => Value;
  /** Line of the node in progress. */
  line: number;
  /** Nested nodes of all macro calls in progress. */
  depth: number;
  /** `{% generation %}` blocks begun so far. */
  generations: number;
}

/** Runs what may nest `depth` nodes deeper. */
export function deeper<T>(rt: Runtime, depth: number, run: () => T): T {
  rt.depth += depth;
  if (rt.depth > MAX_CALL_DEPTH) fail("macros or loops call each other too deeply");
  const result = run();
  rt.depth -= depth;
  return result;
}

/** Calls a value.
 *  @throws TemplateFault if it cannot be called. */
export function callValue(value: Value, args: Args): Value {
  if (value.kind === "func") return value.call(args);
  if (value.kind === "object" && value.call !== undefined) return value.call(args);
  if (value.kind === "undefined") fail(value.message);
  return fail(`'${typeName(value)}' object is not callable`);
}

/** The arguments of a built-in function by its parameters; the first `required` must be there.
 *  @throws TemplateFault for arguments that are missing, too many, or unknown. */
export function bind(
  name: string,
  args: Args,
  params: readonly string[],
  required = 0,
): readonly (Value | undefined)[] {
  if (args.values.length > params.length)
    fail(`${name} takes at most ${params.length} argument(s), ${args.values.length} given`);
  const bound: (Value | undefined)[] = params.map((_, i) => args.values[i]);
  for (const [key, value] of args.named) {
    const i = params.indexOf(key);
    if (i < 0) fail(`${name} got an unexpected keyword argument '${key}'`);
    if (bound[i] !== undefined) fail(`${name} got multiple values for argument '${key}'`);
    bound[i] = value;
  }
  for (let i = 0; i < required; i++)
    if (bound[i] === undefined) fail(`${name} misses its argument '${params[i]}'`);
  return bound;
}

export const given = (value: Value | undefined): value is Value =>
  value !== undefined && value.kind !== "none";

/** A string argument.
 *  @throws TemplateFault if it is none. */
export function textArg(value: Value | undefined): Text {
  if (value?.kind === "text") return value;
  if (value?.kind === "undefined") fail(value.message);
  return fail(`expected a string, got ${typeName(value ?? NONE)}`);
}

/** A whole number as an argument, cut to what can be an index. */
export function intArg(value: Value | undefined, absent: number): number {
  if (value === undefined) return absent;
  const number = numberOf(value);
  if (value.kind === "undefined") fail(value.message);
  if (typeof number !== "bigint") return fail(`expected an integer, got ${typeName(value)}`);
  const limit = BigInt(Number.MAX_SAFE_INTEGER);
  return Number(number > limit ? limit : number < -limit ? -limit : number);
}

export const argsOf = (...values: Value[]): Args => ({ values, named: new Map() });
