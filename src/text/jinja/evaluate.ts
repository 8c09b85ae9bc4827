import { type Access, createAccess } from "./access.ts";
import type { Budget } from "./budget.ts";
import type { Context } from "./context.ts";
import { TemplateError } from "./errors.ts";
import { applyFilter } from "./filters.ts";
import { Loop } from "./loop.ts";
import { arithmetic, compares, joinTexts, sliced } from "./operators.ts";
import type { Arguments, Body, Expression, Filters, Parameter, Statement, Target } from "./syntax.ts";
import { applyTest } from "./tests.ts";
import { characters, concat, generated, type Text, textOf } from "./text.ts";
import {
  type CallArguments,
  Callable,
  Dict,
  isNumber,
  itemsOf,
  List,
  Namespace,
  numberOf,
  truthy,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";
import { str } from "./write.ts";

/** Variables, and those around them. */
interface Scope {
  readonly variables: Map<string, Value>;
  readonly parent: Scope | null;
}

const inner = (parent: Scope): Scope => ({ variables: new Map(), parent });

/** What a body writes. */
interface Output {
  readonly parts: Text[];
  length: number;
}

/** How a body ended: at its end, or by leaving a pass or the loop. */
type End = "end" | "break" | "continue";

/** Macros and recursive loops in one another: more than any template needs, few enough for the stack. */
const MAX_CALLS = 60;

/** Runs the statements of templates in one set of variables. */
export interface Evaluation {
  /** What the statements write. @throws TemplateError with the line */
  run(body: Body): Text;
}

/** An evaluation with variables and functions. `data`: names of variables that are data; what is read of them goes to `read`. */
export function createEvaluation(
  variables: Map<string, Value>,
  data: ReadonlySet<string>,
  read: Set<string>,
  budget: Budget,
): Evaluation {
  const access: Access = createAccess(read, budget);
  const context: Context = {
    budget,
    attribute: access.attribute,
    item: access.item,
    readWhole: access.readWhole,
    filter: (name, value, args) => applyFilter(name, value, args, context),
    test: applyTest,
  };
  let line: number | null = null;
  let calls = 0;

  function lookup(name: string, scope: Scope): Value {
    for (let at: Scope | null = scope; at !== null; at = at.parent) {
      const value = at.variables.get(name);
      if (value === undefined) continue;
      if (at.parent === null && data.has(name)) read.add(name);
      return value;
    }
    return new Undefined(`'${name}' is undefined`);
  }

  function evaluate(node: Expression, scope: Scope): Value {
    budget.step();
    switch (node.kind) {
      case "constant":
        return typeof node.value === "string" ? textOf(node.value) : node.value;
      case "name":
        return lookup(node.name, scope);
      case "list":
      case "tuple":
        return new List(
          node.items.map((item) => evaluate(item, scope)),
          node.kind === "tuple",
        );
      case "dict":
        return new Dict(node.entries.map(([key, value]) => [evaluate(key, scope), evaluate(value, scope)]));
      case "attribute":
        return access.attribute(evaluate(node.object, scope), node.name);
      case "item":
        return access.item(evaluate(node.object, scope), evaluate(node.key, scope));
      case "slice": {
        const value = evaluate(node.object, scope);
        return sliced(
          value,
          node.bounds.map((bound) => (bound === null ? null : evaluate(bound, scope))),
        );
      }
      case "call":
        return call(evaluate(node.callee, scope), argumentsOf(node.args, scope));
      case "filter":
        return applyFilter(node.name, evaluate(node.operand, scope), argumentsOf(node.args, scope), context);
      case "test":
        return (
          applyTest(node.name, evaluate(node.operand, scope), argumentsOf(node.args, scope)) !==
          node.isNegated
        );
      case "unary":
        return unary(node.operator, evaluate(node.operand, scope));
      case "binary":
        return arithmetic(node.operator, evaluate(node.left, scope), evaluate(node.right, scope), budget);
      case "concat":
        return joinTexts(
          node.parts.map((part) => str(evaluate(part, scope))),
          budget,
        );
      case "compare":
        return comparison(node, scope);
      case "and":
      case "or": {
        const left = evaluate(node.left, scope);
        return truthy(left) === (node.kind === "or") ? left : evaluate(node.right, scope);
      }
      case "if":
        if (truthy(evaluate(node.test, scope))) return evaluate(node.value, scope);
        return node.otherwise === null
          ? new Undefined("the inline if-expression evaluated to false and no else section was defined.")
          : evaluate(node.otherwise, scope);
    }
  }

  function comparison({ first, rest }: Expression & { kind: "compare" }, scope: Scope): boolean {
    let left = evaluate(first, scope);
    for (const [operator, operand] of rest) {
      const right = evaluate(operand, scope);
      if (right instanceof Dict && operator.endsWith("in")) access.noteKey(right, left);
      if (!compares(operator, left, right)) return false;
      left = right;
    }
    return true;
  }

  function argumentsOf({ positional, named, spread, namedSpread }: Arguments, scope: Scope): CallArguments {
    const more = spread === null ? [] : itemsOf(evaluate(spread, scope), characters);
    const values = new Map(named.map(([name, value]) => [name, evaluate(value, scope)]));
    const extra = namedSpread === null ? null : evaluate(namedSpread, scope);
    if (extra instanceof Dict)
      for (const [key, value] of extra.entries.values()) values.set(str(key).value, value);
    return { positional: [...positional.map((one) => evaluate(one, scope)), ...more], named: values };
  }

  function call(callee: Value, args: CallArguments): Value {
    if (callee instanceof Callable) return callee.call(args);
    if (callee instanceof Undefined) throw new TemplateError(callee.reason);
    throw new TemplateError(`'${typeName(callee)}' object is not callable`);
  }

  /** Runs what a call begins, counting how deep calls go. */
  function deeper<T>(work: () => T): T {
    if (++calls > MAX_CALLS)
      throw new TemplateError(`calls macros or loops more than ${MAX_CALLS} levels deep`);
    const result = work();
    calls--;
    return result;
  }

  function assign(target: Target, value: Value, scope: Scope): void {
    if (target.kind === "name") scope.variables.set(target.name, value);
    else if (target.kind === "attribute") {
      const object = lookup(target.object, scope);
      if (!(object instanceof Namespace))
        throw new TemplateError("cannot assign attribute on non-namespace object");
      object.attributes.set(target.name, value);
    } else {
      const items = itemsOf(value, characters);
      if (items.length !== target.items.length)
        throw new TemplateError(`cannot unpack ${items.length} values into ${target.items.length} names`);
      target.items.forEach((one, i) => {
        assign(one, items[i] as Value, scope);
      });
    }
  }

  function write(text: Text, output: Output): void {
    output.parts.push(text);
    output.length += text.length;
    budget.step(text.length / 64);
    budget.fits(output.length);
  }

  /** What a body writes, apart from what is around it. */
  function captured(body: Body, scope: Scope): { readonly text: Text; readonly end: End } {
    const output: Output = { parts: [], length: 0 };
    const end = execute(body, scope, output);
    return { text: concat(output.parts), end };
  }

  function filtered(text: Text, filters: Filters, scope: Scope): Value {
    let value: Value = text;
    for (const { name, args } of filters) value = applyFilter(name, value, argumentsOf(args, scope), context);
    return value;
  }

  function execute(body: Body, scope: Scope, output: Output): End {
    for (const statement of body) {
      line = statement.line;
      budget.step();
      const end = perform(statement, scope, output);
      if (end !== "end") return end;
    }
    return "end";
  }

  function perform(node: Statement, scope: Scope, output: Output): End {
    switch (node.kind) {
      case "text":
        write(textOf(node.text), output);
        return "end";
      case "print": {
        const value = evaluate(node.value, scope);
        access.readWhole(value);
        write(str(value), output);
        return "end";
      }
      case "if":
        return execute(truthy(evaluate(node.test, scope)) ? node.body : node.otherwise, scope, output);
      case "for":
        return loop(node, evaluate(node.iterable, scope), scope, output, 1);
      case "set":
        assign(node.target, evaluate(node.value, scope), scope);
        return "end";
      case "set block":
        assign(node.target, filtered(captured(node.body, inner(scope)).text, node.filters, scope), scope);
        return "end";
      case "with": {
        const within = inner(scope);
        for (const [target, value] of node.targets) assign(target, evaluate(value, scope), within);
        return execute(node.body, within, output);
      }
      case "filter block":
        write(str(filtered(captured(node.body, inner(scope)).text, node.filters, scope)), output);
        return "end";
      case "macro":
        scope.variables.set(node.name, macro(node.name, node.parameters, node.body, scope));
        return "end";
      case "call block": {
        const caller = macro("caller", node.parameters, node.body, scope);
        const { callee, args } = node.call as Expression & { kind: "call" };
        const given = argumentsOf(args, scope);
        const value = call(evaluate(callee, scope), {
          ...given,
          named: new Map([...given.named, ["caller", caller]]),
        });
        write(str(value), output);
        return "end";
      }
      case "generation": {
        const { text, end } = captured(node.body, inner(scope));
        write(generated(text), output);
        return end;
      }
      case "block":
        return execute(node.body, inner(scope), output);
      case "do":
        evaluate(node.value, scope);
        return "end";
      case "break":
      case "continue":
        return node.kind;
    }
  }

  function loop(
    node: Statement & { kind: "for" },
    iterable: Value,
    scope: Scope,
    output: Output,
    depth: number,
  ): End {
    if (iterable instanceof Dict) access.readWhole(iterable);
    const all = itemsOf(iterable, characters);
    const items = node.test === null ? all : all.filter((item) => passes(node, item, scope));
    budget.step(items.length);
    if (items.length === 0) return execute(node.otherwise, inner(scope), output);
    const recurse = (below: Value): Value =>
      deeper(() => {
        const nested: Output = { parts: [], length: 0 };
        loop(node, below, scope, nested, depth + 1);
        return concat(nested.parts);
      });
    const state = new Loop(items, depth, node.isRecursive ? recurse : null);
    for (const [i, item] of items.entries()) {
      state.index = i;
      const within = inner(scope);
      within.variables.set("loop", state);
      assign(node.target, item, within);
      if (execute(node.body, within, output) === "break") break;
    }
    return "end";
  }

  function passes({ target, test }: Statement & { kind: "for" }, item: Value, scope: Scope): boolean {
    const within = inner(scope);
    assign(target, item, within);
    return truthy(evaluate(test as Expression, within));
  }

  function macro(name: string, parameters: readonly Parameter[], body: Body, scope: Scope): Callable {
    return new Callable(name, ({ positional, named }) =>
      deeper(() => {
        const within = inner(scope);
        const rest = new Map(named);
        const caller = rest.get("caller");
        rest.delete("caller");
        for (const [i, [parameter, fallback]] of parameters.entries()) {
          const given = i < positional.length ? positional[i] : rest.get(parameter);
          rest.delete(parameter);
          const missing = (): Value =>
            fallback === null
              ? new Undefined(`parameter '${parameter}' was not provided`)
              : evaluate(fallback, within);
          within.variables.set(parameter, given === undefined ? missing() : given);
        }
        within.variables.set("varargs", new List(positional.slice(parameters.length), true));
        within.variables.set("kwargs", new Dict([...rest].map(([key, value]) => [textOf(key), value])));
        if (caller !== undefined) within.variables.set("caller", caller);
        return captured(body, within).text;
      }),
    );
  }

  const root: Scope = { variables, parent: null };
  return {
    run: (body) => {
      try {
        return captured(body, root).text;
      } catch (error) {
        if (error instanceof RangeError) throw new TemplateError("goes too deep", line);
        if (error instanceof TemplateError && error.line === null) Object.assign(error, { line });
        throw error;
      }
    },
  };
}

function unary(operator: "-" | "+" | "not", value: Value): Value {
  if (operator === "not") return !truthy(value);
  if (value instanceof Undefined) throw new TemplateError(value.reason);
  if (!isNumber(value))
    throw new TemplateError(`bad operand type for unary ${operator}: '${typeName(value)}'`);
  const number = numberOf(value);
  return operator === "-" ? -number : number;
}
