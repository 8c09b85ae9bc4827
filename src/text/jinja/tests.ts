import { attribute } from "./attributes.ts";
import { fail } from "./limits.ts";
import { binary, compareBy, contains } from "./operators.ts";
import { toText } from "./print.ts";
import { bind, type Runtime } from "./state.ts";
import { type Args, canIterate, equals, int, isTrue, type Value } from "./values.ts";

/** The tests behind `is`. */
export type Test = (rt: Runtime, value: Value, args: Args) => boolean;

const plain =
  (test: (value: Value, rt: Runtime) => boolean): Test =>
  (rt, value, args) => {
    bind("the test", args, []);
    return test(value, rt);
  };
const withOne =
  (test: (rt: Runtime, value: Value, other: Value) => boolean): Test =>
  (rt, value, args) =>
    test(rt, value, bind("the test", args, ["other"], 1)[0] as Value);
const remainder = (rt: Runtime, value: Value, by: Value): Value => binary(rt, "%", value, by);
const isCase = (name: "islower" | "isupper") =>
  plain((value, rt) => {
    const method = attribute(rt, toText(rt.limits, value), name);
    return method?.kind === "func" && isTrue(method.call({ values: [], named: new Map() }));
  });
const compares = (operator: Parameters<typeof compareBy>[1]): Test =>
  withOne((rt, a, b) => compareBy(rt, operator, a, b));

/** Whether two values are one object, as far as that can be seen: constants, small numbers and strings. */
function isSame(a: Value, b: Value): boolean {
  if (a === b) return true;
  if (a.kind !== b.kind) return false;
  if (a.kind === "none") return true;
  if (a.kind === "bool" || a.kind === "int") return a.value === (b as typeof a).value;
  return a.kind === "text" && a.text === (b as typeof a).text;
}

const isNumber = (value: Value): boolean => ["int", "float", "bool"].includes(value.kind);
const isSequence = (value: Value): boolean =>
  ["text", "list", "tuple", "dict", "range", "undefined"].includes(value.kind);

const equal = compares("==");
const unequal = compares("!=");
const less = compares("<");
const lessOrEqual = compares("<=");
const greater = compares(">");
const greaterOrEqual = compares(">=");

export const TESTS: Readonly<Record<string, Test>> = {
  odd: plain((v, rt) => equals(rt.limits, remainder(rt, v, int(2)), int(1))),
  even: plain((v, rt) => equals(rt.limits, remainder(rt, v, int(2)), int(0))),
  divisibleby: (rt, value, args) =>
    equals(rt.limits, remainder(rt, value, bind("divisibleby", args, ["num"], 1)[0] as Value), int(0)),
  defined: plain((v) => v.kind !== "undefined"),
  undefined: plain((v) => v.kind === "undefined"),
  filter: plain((v) => v.kind === "text" && FILTER_NAMES.has(v.text)),
  test: plain((v) => v.kind === "text" && Object.hasOwn(TESTS, v.text)),
  none: plain((v) => v.kind === "none"),
  boolean: plain((v) => v.kind === "bool"),
  true: plain((v) => v.kind === "bool" && v.value),
  false: plain((v) => v.kind === "bool" && !v.value),
  integer: plain((v) => v.kind === "int"),
  float: plain((v) => v.kind === "float"),
  number: plain(isNumber),
  string: plain((v) => v.kind === "text"),
  mapping: plain((v) => v.kind === "dict"),
  sequence: plain(isSequence),
  iterable: plain(canIterate),
  callable: plain(
    (v) => v.kind === "func" || v.kind === "undefined" || (v.kind === "object" && v.call !== undefined),
  ),
  lower: isCase("islower"),
  upper: isCase("isupper"),
  escaped: plain((v) => v.kind === "text" && v.markup),
  sameas: (_, value, args) => isSame(value, bind("sameas", args, ["other"], 1)[0] as Value),
  in: (rt, value, args) => contains(rt, bind("in", args, ["seq"], 1)[0] as Value, value),
  "==": equal,
  eq: equal,
  equalto: equal,
  "!=": unequal,
  ne: unequal,
  "<": less,
  lt: less,
  lessthan: less,
  "<=": lessOrEqual,
  le: lessOrEqual,
  ">": greater,
  gt: greater,
  greaterthan: greater,
  ">=": greaterOrEqual,
  ge: greaterOrEqual,
};

/** Names of all filters, for `is filter`; filled by filters.ts, which needs the tests. */
export const FILTER_NAMES: Set<string> = new Set();

export function runTest(rt: Runtime, name: string, value: Value, args: Args): boolean {
  const test = TESTS[name];
  if (test === undefined || !Object.hasOwn(TESTS, name)) return fail(`No test named '${name}'.`);
  return test(rt, value, args);
}
