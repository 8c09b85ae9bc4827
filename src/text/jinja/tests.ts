import { TemplateError } from "./errors.ts";
import { hasFilter } from "./filters.ts";
import { compares } from "./operators.ts";
import { Text } from "./text.ts";
import {
  type CallArguments,
  Callable,
  Dict,
  isNumber,
  List,
  numberOf,
  Undefined,
  type Value,
} from "./values.ts";
import { str } from "./write.ts";

type Test = (value: Value, other: Value) => boolean;

function divided(value: Value, by: Value): bigint | number {
  if (!isNumber(value) || !isNumber(by)) throw new TemplateError("expected numbers");
  const [a, b] = [numberOf(value), numberOf(by)];
  return typeof a === "bigint" && typeof b === "bigint" ? a % b : Number(a) % Number(b);
}

const comparing =
  (operator: string): Test =>
  (value, other) =>
    compares(operator, value, other);

const isIterable: Test = (value) =>
  value instanceof Text || value instanceof List || value instanceof Dict || value instanceof Undefined;
const isCased = (value: Value, isUpper: boolean): boolean => {
  const { value: text } = str(value);
  return (
    text.toLowerCase() !== text.toUpperCase() && text === (isUpper ? text.toUpperCase() : text.toLowerCase())
  );
};

const COMPARISONS: Readonly<Record<string, Test>> = Object.fromEntries(
  Object.entries({
    ...{ "==": "==", eq: "==", equalto: "==", "!=": "!=", ne: "!=", in: "in" },
    ...{ "<": "<", lt: "<", lessthan: "<", "<=": "<=", le: "<=" },
    ...{ ">": ">", gt: ">", greaterthan: ">", ">=": ">=", ge: ">=" },
  }).map(([name, operator]) => [name, comparing(operator)]),
);

const TESTS: Readonly<Record<string, Test>> = {
  ...COMPARISONS,
  boolean: (value) => typeof value === "boolean",
  callable: (value) => value instanceof Callable,
  defined: (value) => !(value instanceof Undefined),
  divisibleby: (value, by) => Number(divided(value, by)) === 0,
  escaped: () => false,
  even: (value) => Number(divided(value, 2n)) === 0,
  false: (value) => value === false,
  filter: (value) => hasFilter(str(value).value),
  float: (value) => typeof value === "number",
  integer: (value) => typeof value === "bigint",
  iterable: isIterable,
  lower: (value) => isCased(value, false),
  mapping: (value) => value instanceof Dict,
  none: (value) => value === null,
  number: (value) => isNumber(value),
  odd: (value) => Math.abs(Number(divided(value, 2n))) === 1,
  sameas: (value, other) =>
    value instanceof Text ? other instanceof Text && value.value === other.value : value === other,
  sequence: isIterable,
  string: (value) => value instanceof Text,
  test: (value) => Object.hasOwn(TESTS, str(value).value),
  true: (value) => value === true,
  undefined: (value) => value instanceof Undefined,
  upper: (value) => isCased(value, true),
};

/** `value is name(…)`. @throws TemplateError for an unknown test */
export function applyTest(name: string, value: Value, { positional }: CallArguments): boolean {
  const test = Object.hasOwn(TESTS, name) ? TESTS[name] : undefined;
  if (test === undefined) throw new TemplateError(`No test named '${name}'.`);
  return test(value, positional[0] ?? null);
}
