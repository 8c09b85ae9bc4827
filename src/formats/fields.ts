import { InputError, type Problem } from "../errors.ts";
import { isObject, kindOf } from "../io/json.ts";

/** Typed access to the keys of an outside configuration. What is missing or wrong is collected, so that one error can
 *  name all of it; until then a stand-in value is returned. null counts as missing. */
export interface Fields {
  /** Whole number from 1 to `limit`. A missing key gives `fallback`, or is a problem when there is none. */
  count(key: string, fallback?: number, limit?: number): number;
  /** Finite number > 0. */
  positive(key: string, fallback?: number): number;
  flag(key: string, fallback: boolean): boolean;
  text(key: string, fallback?: string): string;
  raw(key: string): unknown;
  /** The key is there and says null. */
  isNull(key: string): boolean;
  /** Fields of an object under `key`, whose problems are collected here; null when missing. */
  section(key: string): Fields | null;
  problem(key: string, message: string): void;
  /** @throws InputError listing every problem so far. */
  finish(): void;
}

type Values = ReadonlyMap<string, unknown> | Readonly<Record<string, unknown>>;

/** Reader of `values`; problems are reported as `where: key`. */
export function fields(where: string, values: Values): Fields {
  return fieldsIn(where, "", values, []);
}

function lookUp(values: Values, key: string): unknown {
  if (values instanceof Map) return values.get(key);
  return Object.hasOwn(values, key) ? (values as Readonly<Record<string, unknown>>)[key] : undefined;
}

const isText = (value: unknown): value is string => typeof value === "string";
const isFlag = (value: unknown): value is boolean => typeof value === "boolean";
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 1;
const isPositive = (value: unknown): value is number => Number.isFinite(value) && (value as number) > 0;

function fieldsIn(where: string, prefix: string, values: Values, problems: Problem[]): Fields {
  const raw = (key: string): unknown => lookUp(values, key) ?? undefined;
  const problem = (key: string, message: string): void => {
    problems.push({ where: `${where}: ${prefix}${key}`, message });
  };
  const typed = <T>(
    key: string,
    expected: string,
    is: (v: unknown) => v is T,
    standIn: T,
    fallback?: T,
  ): T => {
    const value = raw(key);
    if (value === undefined && fallback !== undefined) return fallback;
    if (is(value)) return value;
    const missing = value === undefined;
    problem(key, missing ? `is missing, expected ${expected}` : `expected ${expected}, got ${kindOf(value)}`);
    return standIn;
  };
  return {
    raw,
    isNull: (key) => lookUp(values, key) === null,
    problem,
    count: (key, fallback, limit = Number.MAX_SAFE_INTEGER) => {
      const value = typed(key, "a whole number of 1 or more", isCount, 1, fallback);
      if (value <= limit) return value;
      problem(key, `is ${value}, expected at most ${limit}`);
      return 1;
    },
    positive: (key, fallback) => typed(key, "a number above 0", isPositive, 1, fallback),
    flag: (key, fallback) => typed(key, "true or false", isFlag, fallback, fallback),
    text: (key, fallback) => typed(key, "a string", isText, "", fallback),
    section: (key) => {
      const value = raw(key);
      if (value === undefined) return null;
      if (isObject(value)) return fieldsIn(where, `${prefix}${key}.`, value, problems);
      problem(key, `expected an object, got ${kindOf(value)}`);
      return null;
    },
    finish: () => {
      if (problems.length > 0) throw new InputError(`${where} does not describe a model:`, problems);
    },
  };
}
