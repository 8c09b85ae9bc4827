import { TemplateError } from "./errors.ts";
import { type Token, tokenize } from "./lexer.ts";
import { createExpressionParser, type ExpressionParser } from "./parse-expression.ts";
import type { Body, Filters, Parameter, Statement, Target } from "./syntax.ts";

/** A position in the tokens. */
export interface Cursor {
  readonly token: Token;
  next(): Token;
  peek(offset: number): Token;
  /** Takes the token if it is this operator or name. */
  take(value: string): boolean;
  is(value: string): boolean;
  expect(value: string): Token;
  expectName(): string;
  fail(message: string): never;
  /** Runs a parser one level deeper. @throws TemplateError beyond the limit */
  nested<T>(parse: () => T): T;
}

/** Levels of nesting that are parsed: more than any template needs, few enough for the stack. */
const MAX_DEPTH = 200;

function createCursor(tokens: readonly Token[]): Cursor {
  let at = 0;
  let depth = 0;
  const peek = (offset: number): Token => tokens[Math.min(at + offset, tokens.length - 1)] as Token;
  const fail = (message: string): never => {
    throw new TemplateError(message, peek(0).line);
  };
  const is = (value: string): boolean => {
    const { kind, value: found } = peek(0);
    return (kind === "operator" || kind === "name" || kind === "close") && found === value;
  };
  const cursor: Cursor = {
    get token() {
      return peek(0);
    },
    peek,
    next: () => {
      const token = peek(0);
      at++;
      return token;
    },
    is,
    take: (value) => {
      if (!is(value)) return false;
      at++;
      return true;
    },
    expect: (value) => (is(value) ? cursor.next() : fail(`expected ${value}, got ${shown(peek(0))}`)),
    expectName: () =>
      peek(0).kind === "name" ? cursor.next().value : fail(`expected a name, got ${shown(peek(0))}`),
    fail,
    nested: (parse) => {
      if (++depth > MAX_DEPTH) fail(`nested more than ${MAX_DEPTH} levels deep`);
      const result = parse();
      depth--;
      return result;
    },
  };
  return cursor;
}

/** A token, for messages. */
export function shown({ kind, value }: Token): string {
  if (kind === "end") return "the end of the template";
  return kind === "data" ? "text" : JSON.stringify(value);
}

/** Statements of a template (jinja2's grammar with loop controls and transformers' generation blocks).
 *  @throws TemplateError with the line */
export function parse(template: string): Body {
  const cursor = createCursor(tokenize(template));
  const body = parseBody(cursor, createExpressionParser(cursor), []);
  if (cursor.token.kind !== "end") cursor.fail(`unexpected ${shown(cursor.token)}`);
  return body;
}

/** Statements up to a tag that begins with one of the names, which stays unread behind its opening. */
function parseBody(cursor: Cursor, expressions: ExpressionParser, ends: readonly string[]): Statement[] {
  const body: Statement[] = [];
  for (;;) {
    const { kind, value, line, tag } = cursor.token;
    if (kind === "end") {
      if (ends.length > 0) cursor.fail(`expected ${ends.join(" or ")} before the end of the template`);
      return body;
    }
    if (kind === "data") {
      cursor.next();
      body.push({ kind: "text", text: value, line });
    } else if (tag === "print") {
      cursor.next();
      body.push({ kind: "print", value: expressions.tuple(), line });
      cursor.expect("}}");
    } else {
      if (ends.includes(cursor.peek(1).value)) {
        cursor.next();
        return body;
      }
      body.push(cursor.nested(() => parseStatement(cursor, expressions)));
    }
  }
}

function parseStatement(cursor: Cursor, expressions: ExpressionParser): Statement {
  const { line } = cursor.next();
  const name = cursor.expectName();
  const parser = Object.hasOwn(STATEMENTS, name) ? STATEMENTS[name] : undefined;
  if (parser === undefined) return cursor.fail(`unknown statement ${JSON.stringify(name)}`);
  return { ...parser(cursor, expressions), line } as Statement;
}

type Shape<S> = S extends unknown ? Omit<S, "line"> : never;
type StatementParser = (cursor: Cursor, expressions: ExpressionParser) => Shape<Statement>;

/** Statements up to an end tag, which is read whole. */
function block(cursor: Cursor, expressions: ExpressionParser, end: string): Body {
  cursor.expect("%}");
  const body = parseBody(cursor, expressions, [end]);
  cursor.expect(end);
  if (end !== "endblock" && end !== "endmacro") cursor.expect("%}");
  else {
    if (cursor.token.kind === "name") cursor.next();
    cursor.expect("%}");
  }
  return body;
}

function parseIf(cursor: Cursor, expressions: ExpressionParser): Shape<Statement> {
  const test = expressions.tuple(false);
  cursor.expect("%}");
  const body = parseBody(cursor, expressions, ["elif", "else", "endif"]);
  const { line } = cursor.token;
  const end = cursor.expectName();
  if (end === "elif") {
    const otherwise = cursor.nested(() => parseIf(cursor, expressions));
    return { kind: "if", test, body, otherwise: [{ ...otherwise, line } as Statement] };
  }
  const otherwise = end === "else" ? block(cursor, expressions, "endif") : [];
  if (end === "endif") cursor.expect("%}");
  return { kind: "if", test, body, otherwise };
}

function parseFor(cursor: Cursor, expressions: ExpressionParser): Shape<Statement> {
  const target = parseTarget(cursor, false);
  cursor.expect("in");
  const iterable = expressions.tuple(false);
  const test = cursor.take("if") ? expressions.expression() : null;
  const isRecursive = cursor.take("recursive");
  cursor.expect("%}");
  const body = parseBody(cursor, expressions, ["endfor", "else"]);
  const otherwise = cursor.expectName() === "else" ? block(cursor, expressions, "endfor") : [];
  if (otherwise.length === 0 && cursor.is("%}")) cursor.next();
  return { kind: "for", target, iterable, test, isRecursive, body, otherwise };
}

function parseSet(cursor: Cursor, expressions: ExpressionParser): Shape<Statement> {
  const target = parseTarget(cursor, true);
  if (cursor.take("=")) {
    const value = expressions.tuple();
    cursor.expect("%}");
    return { kind: "set", target, value };
  }
  const filters = cursor.is("|") ? expressions.filters() : [];
  return { kind: "set block", target, filters, body: block(cursor, expressions, "endset") };
}

/** A name, names between commas, or (in `set`) an attribute of a namespace. */
function parseTarget(cursor: Cursor, mayBeAttribute: boolean): Target {
  const items: Target[] = [];
  let isTuple = false;
  do {
    if (items.length > 0 && !(cursor.token.kind === "name" || cursor.is("("))) break;
    items.push(parseTargetItem(cursor, mayBeAttribute));
    if (cursor.is(",")) isTuple = true;
  } while (cursor.take(","));
  return isTuple ? { kind: "tuple", items } : (items[0] as Target);
}

const RESERVED_NAMES: readonly string[] = ["true", "false", "none", "True", "False", "None"];

function parseTargetItem(cursor: Cursor, mayBeAttribute: boolean): Target {
  if (cursor.take("(")) {
    const target = cursor.nested(() => parseTarget(cursor, mayBeAttribute));
    cursor.expect(")");
    return target;
  }
  const name = cursor.expectName();
  if (RESERVED_NAMES.includes(name)) cursor.fail(`cannot assign to ${name}`);
  if (mayBeAttribute && cursor.take("."))
    return { kind: "attribute", object: name, name: cursor.expectName() };
  return { kind: "name", name };
}

function parseParameters(cursor: Cursor, expressions: ExpressionParser): Parameter[] {
  const parameters: Parameter[] = [];
  cursor.expect("(");
  while (!cursor.take(")")) {
    if (parameters.length > 0) cursor.expect(",");
    if (cursor.take(")")) break;
    const name = cursor.expectName();
    parameters.push([name, cursor.take("=") ? expressions.expression() : null]);
  }
  return parameters;
}

function parseWith(cursor: Cursor, expressions: ExpressionParser): Shape<Statement> {
  const targets: [Target, ReturnType<ExpressionParser["expression"]>][] = [];
  while (!cursor.is("%}")) {
    if (targets.length > 0) cursor.expect(",");
    const target = parseTargetItem(cursor, false);
    cursor.expect("=");
    targets.push([target, expressions.expression()]);
  }
  return { kind: "with", targets, body: block(cursor, expressions, "endwith") };
}

function parseFilterBlock(cursor: Cursor, expressions: ExpressionParser): Shape<Statement> {
  const filters: Filters = expressions.filters(true);
  return { kind: "filter block", filters, body: block(cursor, expressions, "endfilter") };
}

function simple(kind: "break" | "continue"): StatementParser {
  return (cursor) => {
    cursor.expect("%}");
    return { kind };
  };
}

const STATEMENTS: Readonly<Record<string, StatementParser>> = {
  if: parseIf,
  for: parseFor,
  set: parseSet,
  with: parseWith,
  filter: parseFilterBlock,
  macro: (cursor, expressions) => {
    const name = cursor.expectName();
    const parameters = parseParameters(cursor, expressions);
    return { kind: "macro", name, parameters, body: block(cursor, expressions, "endmacro") };
  },
  call: (cursor, expressions) => {
    const parameters = cursor.is("(") ? parseParameters(cursor, expressions) : [];
    const call = expressions.expression();
    if (call.kind !== "call") cursor.fail("expected a call");
    return { kind: "call block", call, parameters, body: block(cursor, expressions, "endcall") };
  },
  generation: (cursor, expressions) => ({
    kind: "generation",
    body: block(cursor, expressions, "endgeneration"),
  }),
  block: (cursor, expressions) => {
    cursor.expectName();
    return { kind: "block", body: block(cursor, expressions, "endblock") };
  },
  do: (cursor, expressions) => {
    const value = expressions.tuple();
    cursor.expect("%}");
    return { kind: "do", value };
  },
  break: simple("break"),
  continue: simple("continue"),
};
