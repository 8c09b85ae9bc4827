import { getAttribute, getItem, sliceOf } from "./attributes.ts";
import { runFilter } from "./filters.ts";
import { fail, tick } from "./limits.ts";
import type { ArgsNode, Expr } from "./nodes.ts";
import { binary, compareBy, negate, tilde } from "./operators.ts";
import { lookUp, type Scope } from "./scope.ts";
import { callValue, type Runtime } from "./state.ts";
import { runTest } from "./tests.ts";
import {
  type Args,
  bool,
  dict,
  isTrue,
  itemsOf,
  list,
  NONE,
  readEntry,
  tuple,
  undef,
  type Value,
} from "./values.ts";

/** Value of an expression.
 *  @param input What a filter without an expression in front of it takes: the text of its block. */
export function evaluate(rt: Runtime, node: Expr, scope: Scope, input: Value | null = null): Value {
  tick(rt.limits, 1);
  rt.line = node.line;
  const of = (child: Expr): Value => evaluate(rt, child, scope, input);
  switch (node.type) {
    case "const":
      return node.value;
    case "name":
      return lookUp(scope, node.name) ?? undef(`'${node.name}' is undefined`);
    case "attribute":
      return getAttribute(rt, of(node.object), node.name);
    case "item":
      return getItem(rt, of(node.object), of(node.index));
    case "slice": {
      const [start, stop, step] = node.bounds.map((b) => (b === null ? NONE : of(b)));
      return sliceOf(start as Value, stop as Value, step as Value);
    }
    case "list":
      return list(node.items.map(of));
    case "tuple":
      return tuple(node.items.map(of));
    case "dict":
      return dict(node.pairs.map(([key, value]) => [of(key), of(value)]));
    case "not":
      return bool(!isTrue(of(node.operand)));
    case "negative":
    case "positive":
      return negate(of(node.operand), node.type === "negative" ? -1 : 1);
    case "and": {
      const left = of(node.left);
      return isTrue(left) ? of(node.right) : left;
    }
    case "or": {
      const left = of(node.left);
      return isTrue(left) ? left : of(node.right);
    }
    case "condition":
      if (isTrue(of(node.test))) return of(node.then);
      return node.otherwise === null
        ? undef("the inline if-expression evaluated to false and no else section was defined.")
        : of(node.otherwise);
    case "concat":
      return tilde(rt, node.parts.map(of));
    default:
      return operate(rt, node, of, input);
  }
}

type Operation = Extract<Expr, { readonly type: "binary" | "compare" | "call" | "filter" | "test" }>;

/** The nodes whose own work can fail, so that their line is set again after their operands. */
function operate(rt: Runtime, node: Operation, of: (child: Expr) => Value, input: Value | null): Value {
  switch (node.type) {
    case "binary": {
      const [left, right] = [of(node.left), of(node.right)];
      rt.line = node.line;
      return binary(rt, node.operator, left, right);
    }
    case "compare": {
      let left = of(node.first);
      for (const [operator, operand] of node.rest) {
        const right = of(operand);
        rt.line = node.line;
        if (!compareBy(rt, operator, left, right)) return bool(false);
        left = right;
      }
      return bool(true);
    }
    case "call": {
      const callee = of(node.callee);
      const args = argsOf(rt, node.args, of);
      rt.line = node.line;
      return callValue(callee, args);
    }
    case "filter": {
      const value = node.input === null ? (input ?? fail("a filter without a value")) : of(node.input);
      const args = argsOf(rt, node.args, of);
      rt.line = node.line;
      return runFilter(rt, node.name, value, args);
    }
    case "test": {
      const value = of(node.input);
      const args = argsOf(rt, node.args, of);
      rt.line = node.line;
      return bool(runTest(rt, node.name, value, args));
    }
  }
}

const NO_ARGS: Args = { values: [], named: new Map() };

/** Evaluated arguments, `*` and `**` spread. */
export function argsOf(rt: Runtime, node: ArgsNode, of: (child: Expr) => Value): Args {
  if (node.values.length === 0 && node.named.length === 0 && node.rest === null && node.restNamed === null)
    return NO_ARGS;
  const values = node.values.map(of);
  if (node.rest !== null) values.push(...itemsOf(rt.limits, of(node.rest)).slice(0, MAX_SPREAD));
  const named = new Map(node.named.map(([name, value]) => [name, of(value)]));
  if (node.restNamed !== null) spreadNamed(of(node.restNamed), named);
  return { values, named };
}

/** Most arguments of a call. */
const MAX_SPREAD = 10_000;

function spreadNamed(from: Value, named: Map<string, Value>): void {
  if (from.kind !== "dict") fail("argument after ** must be a mapping");
  for (const entry of from.entries.values()) {
    if (entry.key.kind !== "text") fail("keywords must be strings");
    if (named.has(entry.key.text)) fail(`got multiple values for keyword argument '${entry.key.text}'`);
    named.set(entry.key.text, readEntry(from, entry));
  }
}
