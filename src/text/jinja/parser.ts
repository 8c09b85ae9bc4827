import { type Token, tokenize, unescaped } from "./lexer.ts";
import { MAX_DEPTH } from "./limits.ts";
import type { ArgsNode, BinaryOperator, CompareOperator, Expr } from "./nodes.ts";
import { textOf } from "./text.ts";
import { TokenStream } from "./token-stream.ts";
import { bool, float, int, NONE, type Value } from "./values.ts";

/** An expression without its place. */
type Bare<T> = T extends unknown ? Omit<T, "line" | "depth"> : never;
/** Longest chain (`a + b + …`, `a.b.c…`) and deepest nesting of expressions. */
const MAX_NODES = 2 * MAX_DEPTH;
const COMPARISONS = ["==", "!=", "<", "<=", ">", ">="];

/** A filter or test that jinja2 does not know: an error at once, or where it stands under a condition, when it is
 *  reached. */
interface Unknown {
  readonly message: string;
  readonly line: number;
  isSoft: boolean;
}

/** Parser of expressions: jinja2's grammar, rule by rule. */
export class ExpressionParser extends TokenStream {
  /** Names read since the start, per macro in progress. */
  protected readonly namesRead: Set<string>[] = [];
  protected readonly unknown: Unknown[] = [];
  /** Whether what is parsed stands directly under an `if`. */
  protected isSoft = false;
  readonly #filters: ReadonlySet<string>;
  readonly #tests: ReadonlySet<string>;

  constructor(source: string, filters: ReadonlySet<string>, tests: ReadonlySet<string>) {
    super(tokenize(source));
    this.#filters = filters;
    this.#tests = tests;
  }

  protected node(bare: Bare<Expr>, line: number, ...children: (Expr | null)[]): Expr {
    const depth = 1 + children.reduce((most, c) => Math.max(most, c?.depth ?? 0), 0);
    if (depth > MAX_NODES) this.fail(`an expression of more than ${MAX_NODES} levels`, line);
    return { ...bare, line, depth } as Expr;
  }

  protected expression(withCondition = true): Expr {
    return this.nested(() => (withCondition ? this.#condition() : this.#or()));
  }

  #condition(): Expr {
    const firstUnknown = this.unknown.length;
    let then = this.#or();
    while (this.is("name", "if")) {
      const { line } = this.next();
      const test = this.#or();
      const otherwise = this.skip("name", "else") ? this.nested(() => this.#condition()) : null;
      then = this.node({ type: "condition", test, then, otherwise }, line, test, then, otherwise);
      for (const unknown of this.unknown.slice(firstUnknown)) unknown.isSoft = true;
    }
    return then;
  }

  #or(): Expr {
    return this.#logical("or", () => this.#logical("and", () => this.#not()));
  }

  #logical(type: "or" | "and", rule: () => Expr): Expr {
    let left = rule();
    while (this.is("name", type)) {
      const { line } = this.next();
      const right = rule();
      left = this.node({ type, left, right }, line, left, right);
    }
    return left;
  }

  #not(): Expr {
    if (!this.is("name", "not")) return this.#compare();
    const { line } = this.next();
    const operand = this.nested(() => this.#not());
    return this.node({ type: "not", operand }, line, operand);
  }

  #compare(): Expr {
    const { line } = this.token;
    const first = this.#sum();
    const rest: [CompareOperator, Expr][] = [];
    for (let operator = this.#comparison(); operator !== null; operator = this.#comparison())
      rest.push([operator, this.#sum()]);
    return rest.length === 0
      ? first
      : this.node({ type: "compare", first, rest }, line, first, ...rest.map(([, e]) => e));
  }

  #comparison(): CompareOperator | null {
    if (this.token.type === "op" && COMPARISONS.includes(this.token.value))
      return this.next().value as CompareOperator;
    if (this.skip("name", "in")) return "in";
    if (!this.is("name", "not") || !this.is("name", "in", 1)) return null;
    this.next();
    this.next();
    return "not in";
  }

  #binary(operators: readonly string[], rule: () => Expr): Expr {
    let left = rule();
    while (this.token.type === "op" && operators.includes(this.token.value)) {
      const { line, value } = this.next();
      const right = rule();
      left = this.node({ type: "binary", operator: value as BinaryOperator, left, right }, line, left, right);
    }
    return left;
  }

  #sum(): Expr {
    return this.#binary(["+", "-"], () => this.#concat());
  }

  #concat(): Expr {
    const { line } = this.token;
    const parts = [this.#product()];
    while (this.skip("op", "~")) parts.push(this.#product());
    return parts.length === 1 ? (parts[0] as Expr) : this.node({ type: "concat", parts }, line, ...parts);
  }

  #product(): Expr {
    return this.#binary(["*", "/", "//", "%"], () => this.#binary(["**"], () => this.#unary()));
  }

  #unary(withFilter = true): Expr {
    const { line } = this.token;
    const type = this.is("op", "-") ? "negative" : this.is("op", "+") ? "positive" : null;
    let node: Expr;
    if (type === null) node = this.primary();
    else {
      this.next();
      const operand = this.nested(() => this.#unary(false));
      node = this.node({ type, operand }, line, operand);
    }
    node = this.#postfix(node);
    return withFilter ? this.#filters_(node) : node;
  }

  protected primary(): Expr {
    const token = this.next();
    const { line } = token;
    const constant = (value: Value): Expr => this.node({ type: "const", value }, line);
    switch (token.type) {
      case "name":
        return this.#named(token);
      case "string": {
        let text = unescaped(token);
        while (this.token.type === "string") text += unescaped(this.next());
        return constant(textOf(text));
      }
      case "int":
        return constant(int(BigInt(token.value.replaceAll("_", ""))));
      case "float":
        return constant(float(Number(token.value.replaceAll("_", ""))));
      case "op":
        if (token.value === "(") {
          const inner = this.tuple({ isParenthesized: true });
          this.expect("op", ")");
          return inner;
        }
        if (token.value === "[") return this.#list(line);
        if (token.value === "{") return this.#dict(line);
    }
    return this.fail(`unexpected ${this.describe(token)}`, line);
  }

  #named({ value: name, line }: Token): Expr {
    const lower = name[0]?.toLowerCase() + name.slice(1);
    const constant = { true: bool(true), false: bool(false), none: NONE }[lower];
    if (constant !== undefined && Object.hasOwn(CONSTANTS, name))
      return this.node({ type: "const", value: constant }, line);
    for (const names of this.namesRead) names.add(name);
    return this.node({ type: "name", name }, line);
  }

  /** One expression, or several with commas between them, which are a tuple. */
  protected tuple({
    isParenthesized = false,
    withCondition = true,
    end = "",
  }: {
    isParenthesized?: boolean;
    withCondition?: boolean;
    end?: string;
  } = {}): Expr {
    const { line } = this.token;
    const items: Expr[] = [];
    let isTuple = false;
    while (true) {
      if (items.length > 0) this.expect("op", ",");
      if (["print end", "end", "eof"].includes(this.token.type) || this.is("op", ")")) break;
      if (end !== "" && this.is("name", end)) break;
      items.push(this.expression(withCondition));
      if (!this.is("op", ",")) break;
      isTuple = true;
    }
    if (!isTuple && items[0] !== undefined) return items[0];
    if (!isTuple && !isParenthesized) this.fail(`Expected an expression, got ${this.describe()}`);
    return this.node({ type: "tuple", items }, line, ...items);
  }

  #list(line: number): Expr {
    const items: Expr[] = [];
    while (!this.is("op", "]")) {
      if (items.length > 0) this.expect("op", ",");
      if (this.is("op", "]")) break;
      items.push(this.expression());
    }
    this.expect("op", "]");
    return this.node({ type: "list", items }, line, ...items);
  }

  #dict(line: number): Expr {
    const pairs: [Expr, Expr][] = [];
    while (!this.is("op", "}")) {
      if (pairs.length > 0) this.expect("op", ",");
      if (this.is("op", "}")) break;
      const key = this.expression();
      this.expect("op", ":");
      pairs.push([key, this.expression()]);
    }
    this.expect("op", "}");
    return this.node({ type: "dict", pairs }, line, ...pairs.flat());
  }

  #postfix(start: Expr): Expr {
    let node = start;
    while (this.token.type === "op") {
      if (this.token.value === ".") node = this.#attribute(node);
      else if (this.token.value === "[") node = this.#item(node);
      else if (this.token.value === "(") node = this.call(node);
      else break;
    }
    return node;
  }

  #filters_(start: Expr): Expr {
    let node = start;
    while (true) {
      if (this.is("op", "|")) node = this.filter(node) as Expr;
      else if (this.is("name", "is")) node = this.#test(node);
      else if (this.is("op", "(")) node = this.call(node);
      else return node;
    }
  }

  #attribute(object: Expr): Expr {
    const { line } = this.next();
    const token = this.next();
    if (token.type === "name")
      return this.node({ type: "attribute", object, name: token.value }, line, object);
    if (token.type !== "int") this.fail("expected name or number", token.line);
    const index = this.node({ type: "const", value: int(BigInt(token.value.replaceAll("_", ""))) }, line);
    return this.node({ type: "item", object, index }, line, object);
  }

  #item(object: Expr): Expr {
    const { line } = this.next();
    const args: Expr[] = [];
    while (!this.is("op", "]")) {
      if (args.length > 0) this.expect("op", ",");
      args.push(this.#subscript());
    }
    this.expect("op", "]");
    const index =
      args.length === 1 ? (args[0] as Expr) : this.node({ type: "tuple", items: args }, line, ...args);
    return this.node({ type: "item", object, index }, line, object, index);
  }

  #subscript(): Expr {
    const { line } = this.token;
    const isEnd = (): boolean => this.is("op", ":") || this.is("op", "]") || this.is("op", ",");
    const start = this.is("op", ":") ? null : this.expression();
    if (!this.skip("op", ":")) return start as Expr;
    const stop = isEnd() ? null : this.expression();
    const step = this.skip("op", ":") && !isEnd() ? this.expression() : null;
    return this.node({ type: "slice", bounds: [start, stop, step] }, line, start, stop, step);
  }

  protected call(callee: Expr): Expr {
    const { line } = this.token;
    const { args, nodes } = this.#args();
    return this.node({ type: "call", callee, args }, line, callee, ...nodes);
  }

  #args(): { readonly args: ArgsNode; readonly nodes: Expr[] } {
    const { line } = this.expect("op", "(");
    const values: Expr[] = [];
    const named: [string, Expr][] = [];
    let rest: Expr | null = null;
    let restNamed: Expr | null = null;
    const ensure = (isRight: boolean): void => {
      if (!isRight) this.fail("invalid syntax for function call expression", line);
    };
    for (let isFirst = true; !this.is("op", ")"); isFirst = false) {
      if (!isFirst) this.expect("op", ",");
      if (this.is("op", ")")) break;
      if (this.skip("op", "*")) {
        ensure(rest === null && restNamed === null);
        rest = this.expression();
      } else if (this.skip("op", "**")) {
        ensure(restNamed === null);
        restNamed = this.expression();
      } else if (this.token.type === "name" && this.is("op", "=", 1)) {
        ensure(restNamed === null);
        const name = this.next().value;
        this.next();
        if (named.some(([n]) => n === name)) this.fail(`keyword argument repeated: ${name}`, line);
        named.push([name, this.expression()]);
      } else {
        ensure(rest === null && restNamed === null && named.length === 0);
        values.push(this.expression());
      }
    }
    this.expect("op", ")");
    const nodes = [...values, ...named.map(([, e]) => e), rest, restNamed].filter((e) => e !== null);
    return { args: { values, named, rest, restNamed }, nodes };
  }

  /** `| name(args) | …`; a block's filter begins without the bar. */
  protected filter(start: Expr | null, isBlock = false): Expr | null {
    let input = start;
    for (let isInline = isBlock; isInline || this.is("op", "|"); isInline = false) {
      if (!isInline) this.next();
      const { line } = this.token;
      const name = this.#dotted();
      this.#check(this.#filters, name, `No filter named '${name}'.`, line);
      const { args, nodes } = this.is("op", "(") ? this.#args() : NO_ARGS;
      input = this.node({ type: "filter", input, name, args }, line, input, ...nodes);
    }
    return input;
  }

  #dotted(): string {
    let { value } = this.expect("name");
    while (this.skip("op", ".")) value += `.${this.expect("name").value}`;
    return value;
  }

  #check(known: ReadonlySet<string>, name: string, message: string, line: number): void {
    if (!known.has(name)) this.unknown.push({ message, line, isSoft: this.isSoft });
  }

  #test(input: Expr): Expr {
    const { line } = this.next();
    const isNegated = this.skip("name", "not");
    const name = this.#dotted();
    this.#check(this.#tests, name, `No test named '${name}'.`, line);
    let { args, nodes } = NO_ARGS;
    if (this.is("op", "(")) ({ args, nodes } = this.#args());
    else if (this.#startsArgument()) {
      if (this.is("name", "is")) this.fail("You cannot chain multiple tests with is");
      nodes = [this.#postfix(this.primary())];
      args = { ...args, values: nodes };
    }
    const test = this.node({ type: "test", input, name, args }, line, input, ...nodes);
    return isNegated ? this.node({ type: "not", operand: test }, line, test) : test;
  }

  #startsArgument(): boolean {
    const { type, value } = this.token;
    if (type === "name") return !["else", "or", "and"].includes(value);
    return ["string", "int", "float"].includes(type) || (type === "op" && (value === "[" || value === "{"));
  }
}

const NO_ARGS: { readonly args: ArgsNode; readonly nodes: Expr[] } = {
  args: { values: [], named: [], rest: null, restNamed: null },
  nodes: [],
};

const CONSTANTS = { true: 0, True: 0, false: 0, False: 0, none: 0, None: 0 };
