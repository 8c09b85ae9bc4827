import type { Cursor } from "./parser.ts";
import { shown } from "./parser.ts";
import type { Arguments, Expression, Filters } from "./syntax.ts";

/** Parses expressions, with jinja2's precedences. */
export interface ExpressionParser {
  expression(): Expression;
  /** Expressions between commas, or one alone. `withIf`: the inline `if` may stand in it. */
  tuple(withIf?: boolean): Expression;
  /** `| name(…)` in a row; with `bare`, the first stands without its bar. */
  filters(bare?: boolean): Filters;
}

const NO_ARGUMENTS: Arguments = { positional: [], named: [], spread: null, namedSpread: null };
const COMPARISONS: readonly string[] = ["==", "!=", "<", "<=", ">", ">=", "in"];

/** A parser of expressions on a cursor. */
export function createExpressionParser(cursor: Cursor): ExpressionParser {
  const expression = (): Expression => cursor.nested(conditional);

  function conditional(): Expression {
    let node = or();
    while (cursor.take("if")) {
      const test = or();
      const otherwise = cursor.take("else") ? expression() : null;
      node = { kind: "if", test, value: node, otherwise };
    }
    return node;
  }

  function or(): Expression {
    let left = and();
    while (cursor.take("or")) left = { kind: "or", left, right: and() };
    return left;
  }

  function and(): Expression {
    let left = not();
    while (cursor.take("and")) left = { kind: "and", left, right: not() };
    return left;
  }

  function not(): Expression {
    if (cursor.take("not")) return { kind: "unary", operator: "not", operand: cursor.nested(not) };
    return compare();
  }

  function compare(): Expression {
    const first = sum();
    const rest: [string, Expression][] = [];
    for (;;) {
      const operator = COMPARISONS.find((one) => cursor.is(one));
      if (operator !== undefined) {
        cursor.next();
        rest.push([operator, sum()]);
      } else if (cursor.is("not") && cursor.peek(1).value === "in") {
        cursor.next();
        cursor.next();
        rest.push(["not in", sum()]);
      } else return rest.length === 0 ? first : { kind: "compare", first, rest };
    }
  }

  type Binary = (Expression & { kind: "binary" })["operator"];

  function leftToRight(operand: () => Expression, ...operators: Binary[]): Expression {
    let left = operand();
    for (;;) {
      const operator = operators.find((one) => cursor.token.kind === "operator" && cursor.is(one));
      if (operator === undefined) return left;
      cursor.next();
      left = { kind: "binary", operator, left, right: operand() };
    }
  }

  const sum = (): Expression => leftToRight(concat, "+", "-");

  function concat(): Expression {
    const parts = [product()];
    while (cursor.take("~")) parts.push(product());
    return parts.length === 1 ? (parts[0] as Expression) : { kind: "concat", parts };
  }

  const product = (): Expression => leftToRight(power, "*", "/", "//", "%");
  const power = (): Expression => leftToRight(() => unary(true), "**");

  function unary(withFilter: boolean): Expression {
    const operator = (["-", "+"] as const).find((one) => cursor.token.kind === "operator" && cursor.is(one));
    let node: Expression;
    if (operator !== undefined) {
      cursor.next();
      node = { kind: "unary", operator, operand: cursor.nested(() => unary(false)) };
    } else node = primary();
    node = postfix(node);
    return withFilter ? filtered(node) : node;
  }

  function primary(): Expression {
    const { kind, value } = cursor.token;
    if (kind === "name") {
      cursor.next();
      return named(value);
    }
    if (kind === "string") {
      let text = "";
      while (cursor.token.kind === "string") text += cursor.next().value;
      return { kind: "constant", value: text };
    }
    if (kind === "integer" || kind === "float") {
      cursor.next();
      return { kind: "constant", value: kind === "integer" ? BigInt(value) : Number(value) };
    }
    if (cursor.take("(")) {
      const node = cursor.is(")") ? ({ kind: "tuple", items: [] } as const) : cursor.nested(() => tuple());
      cursor.expect(")");
      return node;
    }
    if (cursor.take("[")) return { kind: "list", items: listed("]") };
    if (cursor.take("{")) return { kind: "dict", entries: entries() };
    return cursor.fail(`unexpected ${shown(cursor.token)}`);
  }

  function named(name: string): Expression {
    const constants: Readonly<Record<string, boolean | null>> = {
      ...{ true: true, True: true, false: false, False: false, none: null, None: null },
    };
    if (Object.hasOwn(constants, name)) return { kind: "constant", value: constants[name] as boolean | null };
    return { kind: "name", name };
  }

  function listed(close: string): Expression[] {
    const items: Expression[] = [];
    while (!cursor.take(close)) {
      if (items.length > 0) cursor.expect(",");
      if (cursor.take(close)) break;
      items.push(expression());
    }
    return items;
  }

  function entries(): [Expression, Expression][] {
    const found: [Expression, Expression][] = [];
    while (!cursor.take("}")) {
      if (found.length > 0) cursor.expect(",");
      if (cursor.take("}")) break;
      const key = expression();
      cursor.expect(":");
      found.push([key, expression()]);
    }
    return found;
  }

  function postfix(start: Expression): Expression {
    let node = start;
    for (;;) {
      if (cursor.token.kind !== "operator") return node;
      if (cursor.take(".")) node = attribute(node);
      else if (cursor.take("[")) node = subscript(node);
      else if (cursor.is("(")) node = { kind: "call", callee: node, args: callArguments() };
      else return node;
    }
  }

  function attribute(object: Expression): Expression {
    const token = cursor.next();
    if (token.kind === "integer")
      return { kind: "item", object, key: { kind: "constant", value: BigInt(token.value) } };
    if (token.kind === "name") return { kind: "attribute", object, name: token.value };
    return cursor.fail("expected a name behind the dot");
  }

  function subscript(object: Expression): Expression {
    const bound = (): Expression | null => (cursor.is(":") || cursor.is("]") ? null : expression());
    const start = bound();
    if (!cursor.is(":")) {
      if (start === null) return cursor.fail("expected a key in the brackets");
      const items = [start];
      while (cursor.take(",")) items.push(expression());
      cursor.expect("]");
      return { kind: "item", object, key: items.length === 1 ? start : { kind: "tuple", items } };
    }
    cursor.next();
    const stop = bound();
    const step = cursor.take(":") ? bound() : null;
    cursor.expect("]");
    return { kind: "slice", object, bounds: [start, stop, step] };
  }

  function callArguments(): Arguments {
    const positional: Expression[] = [];
    const named: [string, Expression][] = [];
    let [spread, namedSpread]: [Expression | null, Expression | null] = [null, null];
    cursor.expect("(");
    for (let isFirst = true; !cursor.take(")"); isFirst = false) {
      if (!isFirst) cursor.expect(",");
      if (cursor.take(")")) break;
      if (cursor.take("*")) spread = expression();
      else if (cursor.take("**")) namedSpread = expression();
      else if (
        cursor.token.kind === "name" &&
        cursor.peek(1).kind === "operator" &&
        cursor.peek(1).value === "="
      ) {
        const name = cursor.next().value;
        cursor.next();
        named.push([name, expression()]);
      } else positional.push(expression());
    }
    return { positional, named, spread, namedSpread };
  }

  function filtered(start: Expression): Expression {
    let node = start;
    for (;;) {
      if (cursor.is("|")) for (const filter of filters()) node = { kind: "filter", operand: node, ...filter };
      else if (cursor.is("is")) node = test(node);
      else if (cursor.token.kind === "operator" && cursor.is("("))
        node = { kind: "call", callee: node, args: callArguments() };
      else return node;
    }
  }

  function dotted(): string {
    let name = cursor.expectName();
    while (cursor.take(".")) name += `.${cursor.expectName()}`;
    return name;
  }

  function filters(bare = false): Filters {
    const found: { name: string; args: Arguments }[] = [];
    for (let isBare = bare; isBare || cursor.take("|"); isBare = false) {
      const name = dotted();
      found.push({ name, args: cursor.is("(") ? callArguments() : NO_ARGUMENTS });
    }
    return found;
  }

  function test(operand: Expression): Expression {
    cursor.expect("is");
    const isNegated = cursor.take("not");
    const name = dotted();
    const { kind, value } = cursor.token;
    const stops = ["else", "or", "and", "is", "if", "in", "not"];
    let args = NO_ARGUMENTS;
    if (kind === "operator" && value === "(") args = callArguments();
    else if (
      (kind === "name" && !stops.includes(value)) ||
      ["string", "integer", "float"].includes(kind) ||
      (kind === "operator" && (value === "[" || value === "{"))
    )
      args = { ...NO_ARGUMENTS, positional: [postfix(primary())] };
    return { kind: "test", operand, name, args, isNegated };
  }

  function tuple(withIf = true): Expression {
    const item = (): Expression => (withIf ? expression() : cursor.nested(or));
    const items = [item()];
    let isTuple = false;
    while (cursor.take(",")) {
      isTuple = true;
      if (cursor.token.kind === "close" || cursor.is(")") || cursor.is("=") || cursor.is("in")) break;
      items.push(item());
    }
    return isTuple ? { kind: "tuple", items } : (items[0] as Expression);
  }

  return { expression, tuple, filters };
}
