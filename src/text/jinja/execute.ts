import { argsOf, evaluate } from "./evaluate.ts";
import { checkLength, fail, tick } from "./limits.ts";
import { startLoop } from "./loop.ts";
import { makeMacro } from "./macro.ts";
import type { Body, Expr, Stmt, Target } from "./nodes.ts";
import { toText } from "./print.ts";
import { innerScope, lookUp, type Scope } from "./scope.ts";
import { callValue, deeper, type Runtime } from "./state.ts";
import { concat, mapOrigins, type Origin, type Text } from "./text.ts";
import { isTrue, itemsOf, iterate, undef, type Value } from "./values.ts";

/** How a statement ended: null: at its end. */
type Signal = "break" | "continue" | null;

/** Text written so far. */
export interface Output {
  readonly parts: Text[];
  length: number;
}

export const emptyOutput = (): Output => ({ parts: [], length: 0 });

function write(rt: Runtime, out: Output, text: Text): void {
  if (text.text === "") return;
  out.length += text.text.length;
  checkLength(rt.limits, out.length);
  out.parts.push(text);
}

/** Runs statements, and gives what they wrote as one text. A `break` in them leaves what they wrote unused. */
function capture(rt: Runtime, body: Body, scope: Scope): { readonly text: Text; readonly signal: Signal } {
  const out = emptyOutput();
  const signal = execute(rt, body, scope, out);
  rt.limits.length += out.length;
  checkLength(rt.limits, rt.limits.length);
  return { text: concat(out.parts), signal };
}

export const render = (rt: Runtime, body: Body, scope: Scope): Text => capture(rt, body, scope).text;

export function execute(rt: Runtime, body: Body, scope: Scope, out: Output): Signal {
  for (const statement of body.statements) {
    const signal = run(rt, statement, scope, out);
    if (signal !== null) return signal;
  }
  return null;
}

function run(rt: Runtime, node: Stmt, scope: Scope, out: Output): Signal {
  tick(rt.limits, 1);
  rt.line = node.line;
  switch (node.type) {
    case "data":
      write(rt, out, node.value as Text);
      return null;
    case "output":
      write(rt, out, toText(rt.limits, evaluate(rt, node.value, scope)));
      return null;
    case "set":
      assign(rt, node.target, evaluate(rt, node.value, scope), scope);
      return null;
    case "if":
      for (const [test, body] of node.branches)
        if (isTrue(evaluate(rt, test, scope))) return execute(rt, body, scope, out);
      return execute(rt, node.otherwise, scope, out);
    case "for":
      return loop(rt, node, evaluate(rt, node.items, scope), scope, out, 0);
    case "break":
    case "continue":
      return node.type;
    case "macro":
      scope.variables.set(
        node.name,
        makeMacro(rt, node.name, node, (inner) => render(rt, node.body, inner), scope),
      );
      return null;
    case "call block": {
      const caller = makeMacro(rt, "caller", node, (inner) => render(rt, node.body, inner), scope);
      write(rt, out, toText(rt.limits, callWith(rt, node.call, caller, scope)));
      return null;
    }
    default:
      return runInner(rt, node, scope, out);
  }
}

/** Statements with a scope of their own. */
function runInner(
  rt: Runtime,
  node: Extract<Stmt, { readonly type: "capture" | "with" | "filter block" | "generation" | "block" }>,
  scope: Scope,
  out: Output,
): Signal {
  const inner = innerScope(scope);
  if (node.type === "with") {
    for (const [target, value] of node.pairs) assign(rt, target, evaluate(rt, value, scope), inner);
    return execute(rt, node.body, inner, out);
  }
  if (node.type === "block")
    return execute(rt, node.body, node.scoped ? inner : innerScope(outermost(scope)), out);
  const generation = node.type === "generation" ? ++rt.generations : 0;
  const { text, signal } = capture(rt, node.body, inner);
  if (signal !== null) return signal;
  if (node.type === "generation") write(rt, out, generated(text, generation));
  else if (node.type === "filter block")
    write(rt, out, toText(rt.limits, evaluate(rt, node.filter, scope, text)));
  else assign(rt, node.target, node.filter === null ? text : evaluate(rt, node.filter, scope, text), scope);
  return null;
}

/** Scope of the template itself, which is inside that of the variables it was given. */
function outermost(scope: Scope): Scope {
  let at = scope;
  while (at.parent?.parent) at = at.parent;
  return at;
}

/** The text as written by a `{% generation %}` block. */
function generated(text: Text, generation: number): Text {
  const known = new Map<Origin, Origin>();
  return mapOrigins(text, (origin) => {
    const own = known.get(origin) ?? { ...origin, generation };
    known.set(origin, own);
    return own;
  });
}

function callWith(rt: Runtime, node: Expr, caller: Value, scope: Scope): Value {
  if (node.type !== "call") return fail("expected call");
  const of = (child: Expr): Value => evaluate(rt, child, scope);
  const callee = of(node.callee);
  const args = argsOf(rt, node.args, of);
  if (args.named.has("caller")) fail("got multiple values for keyword argument 'caller'");
  rt.line = node.line;
  return callValue(callee, { values: args.values, named: new Map([...args.named, ["caller", caller]]) });
}

export function assign(rt: Runtime, target: Target, value: Value, scope: Scope): void {
  switch (target.type) {
    case "name":
      scope.variables.set(target.name, value);
      return;
    case "field": {
      const object = lookUp(scope, target.object);
      if (object?.kind !== "object" || object.set === undefined)
        fail("cannot assign attribute on non-namespace object");
      object.set(target.name, value);
      return;
    }
    case "tuple": {
      const items = itemsOf(rt.limits, value);
      if (items.length !== target.items.length)
        fail(`expected ${target.items.length} values to unpack, got ${items.length}`);
      target.items.forEach((t, i) => {
        assign(rt, t, items[i] as Value, scope);
      });
    }
  }
}

type For = Extract<Stmt, { readonly type: "for" }>;

function loop(rt: Runtime, node: For, items: Value, scope: Scope, out: Output, depth: number): Signal {
  const recurse = node.recursive
    ? (inner: Value): Value =>
        deeper(rt, node.depth, () => {
          const nested = emptyOutput();
          loop(rt, node, inner, scope, nested, depth + 1);
          return concat(nested.parts);
        })
    : null;
  const filtered = node.test === null ? null : passing(rt, node, node.test, items, scope);
  const { next, object } = startLoop(rt, items, filtered, recurse, depth);
  let isEmpty = true;
  for (let item = next(); item !== null; item = next()) {
    isEmpty = false;
    const inner = innerScope(scope);
    inner.variables.set("loop", object);
    assign(rt, node.target, item, inner);
    if (execute(rt, node.body, inner, out) === "break") return null;
  }
  return isEmpty ? execute(rt, node.otherwise, innerScope(scope), out) : null;
}

/** Items that pass the loop's own condition, which sees neither `loop` nor what the body sets. */
function* passing(rt: Runtime, node: For, test: Expr, items: Value, scope: Scope): Generator<Value> {
  const iterator = iterate(items);
  for (let next = iterator.next(); !next.done; next = iterator.next()) {
    const inner = innerScope(scope);
    inner.variables.set("loop", undef("'loop' is undefined: the condition of a loop does not see it"));
    assign(rt, node.target, next.value, inner);
    if (isTrue(evaluate(rt, test, inner))) yield next.value;
  }
}
