import { TemplateFault } from "./limits.ts";
import type { Body, Expr, Signature, Stmt, Target } from "./nodes.ts";
import { ExpressionParser } from "./parser.ts";
import { textOf } from "./text.ts";

type Bare<T> = T extends unknown ? Omit<T, "line" | "depth"> : never;

/** A parsed template. */
export interface Parsed {
  readonly body: Body;
  readonly hasGeneration: boolean;
}

/** Tags that need other templates, or that the environment of chat templates lacks. */
const REFUSED: Readonly<Record<string, string>> = {
  extends: "there are no other templates to extend",
  include: "there are no other templates to include",
  import: "there are no other templates to import from",
  from: "there are no other templates to import from",
  autoescape: "autoescape is not supported",
};
const RESERVED = new Set(["true", "false", "none", "True", "False", "None"]);

/** Parses a template.
 *  @throws TemplateFault with the line. */
export function parse(source: string, filters: ReadonlySet<string>, tests: ReadonlySet<string>): Parsed {
  return new StatementParser(source, filters, tests).template();
}

class StatementParser extends ExpressionParser {
  #loops = 0;
  #hasGeneration = false;
  readonly #blocks = new Set<string>();

  template(): Parsed {
    const body = this.#body([]);
    const unknown = this.unknown.find((u) => !u.isSoft);
    if (unknown !== undefined) throw new TemplateFault(unknown.message, unknown.line);
    return { body, hasGeneration: this.#hasGeneration };
  }

  #statement(bare: Bare<Stmt>, line: number, ...children: ({ readonly depth: number } | null)[]): Stmt {
    const depth = 1 + children.reduce((most, c) => Math.max(most, c?.depth ?? 0), 0);
    return { ...bare, line, depth } as Stmt;
  }

  /** Statements up to one of the tags `ends`, which becomes the current token; to the end where there are none. */
  #body(ends: readonly string[]): Body {
    const { line } = this.token;
    const statements: Stmt[] = [];
    while (this.token.type !== "eof") {
      const { type, value, line: at } = this.next();
      if (type === "data") statements.push(this.#statement({ type: "data", value: textOf(value) }, at));
      else if (type === "print") {
        const output = this.tuple();
        statements.push(this.#statement({ type: "output", value: output }, at, output));
        this.expect("print end");
      } else {
        if (this.token.type === "name" && ends.includes(this.token.value)) return bodyOf(statements);
        statements.push(...this.nested(() => this.#tag()));
        this.expect("end");
      }
    }
    if (ends.length > 0) this.fail(`Unexpected end of template: '${ends.at(-1)}' is missing`, line);
    return bodyOf(statements);
  }

  /** The statements of a block, up to one of the tags `ends`. */
  #block(...ends: string[]): Body {
    this.skip("op", ":");
    this.expect("end");
    return this.#body(ends);
  }

  /** The statements of a block with one end, which is read too; not under the condition that the block stands in, and
   *  in a loop only if `inLoop`. */
  #inner(end: string, inLoop: boolean): Body {
    const loops = this.#loops;
    if (!inLoop) this.#loops = 0;
    const body = this.#hard(() => this.#block(end));
    this.#loops = loops;
    this.next();
    return body;
  }

  #hard<T>(rule: () => T): T {
    const isSoft = this.isSoft;
    this.isSoft = false;
    const result = rule();
    this.isSoft = isSoft;
    return result;
  }

  #tag(): Stmt[] {
    const token = this.token;
    if (token.type !== "name") this.fail("tag name expected");
    this.next();
    const { line, value } = token;
    const reason = REFUSED[value];
    if (reason !== undefined && Object.hasOwn(REFUSED, value)) this.fail(`'${value}': ${reason}`, line);
    return this.#known(value, line);
  }

  #known(tag: string, line: number): Stmt[] {
    switch (tag) {
      case "set":
        return [this.#set(line)];
      case "for":
        return [this.#for(line)];
      case "if":
        return [this.#if(line)];
      case "with":
        return [this.#with(line)];
      case "macro":
        return [this.#macro(line)];
      case "call":
        return [this.#callBlock(line)];
      case "print":
        return this.#print(line);
      case "block":
        return [this.#templateBlock(line)];
      case "filter": {
        const filter = this.filter(null, true) as Expr;
        const body = this.#inner("endfilter", true);
        return [this.#statement({ type: "filter block", filter, body }, line, filter, body)];
      }
      case "generation": {
        this.#hasGeneration = true;
        const body = this.#inner("endgeneration", false);
        return [this.#statement({ type: "generation", body }, line, body)];
      }
      case "break":
      case "continue":
        if (this.#loops === 0) this.fail(`'${tag}' outside loop`, line);
        return [this.#statement({ type: tag }, line)];
    }
    return this.fail(`Encountered unknown tag '${tag}'.`, line);
  }

  #set(line: number): Stmt {
    const target = this.#target(true);
    if (this.skip("op", "=")) {
      const value = this.tuple();
      return this.#statement({ type: "set", target, value }, line, value);
    }
    const filter = this.filter(null);
    const body = this.#inner("endset", true);
    return this.#statement({ type: "capture", target, filter, body }, line, filter, body);
  }

  #for(line: number): Stmt {
    const target = this.#target(false, "in");
    if (namesIn(target).includes("loop"))
      this.fail("Can't assign to special loop variable in for-loop", line);
    this.expect("name", "in");
    const items = this.tuple({ withCondition: false, end: "recursive" });
    const test = this.skip("name", "if") ? this.expression() : null;
    const recursive = this.skip("name", "recursive");
    this.#loops++;
    const body = this.#hard(() => this.#block("endfor", "else"));
    this.#loops--;
    const otherwise = this.next().value === "else" ? this.#else("endfor") : bodyOf([]);
    return this.#statement(
      { type: "for", target, items, test, recursive, body, otherwise },
      line,
      items,
      test,
      body,
      otherwise,
    );
  }

  /** An `else` part and its end. */
  #else(end: string): Body {
    const body = this.#block(end);
    this.next();
    return body;
  }

  #if(line: number): Stmt {
    const isSoft = this.isSoft;
    this.isSoft = true;
    const branches: [Expr, Body][] = [];
    let otherwise = bodyOf([]);
    for (let tag = "elif"; tag === "elif"; ) {
      const test = this.tuple({ withCondition: false });
      branches.push([test, this.#block("elif", "else", "endif")]);
      tag = this.next().value;
      if (tag === "else") otherwise = this.#else("endif");
    }
    this.isSoft = isSoft;
    return this.#statement({ type: "if", branches, otherwise }, line, ...branches.flat(), otherwise);
  }

  #with(line: number): Stmt {
    const pairs: [Target, Expr][] = [];
    while (this.token.type !== "end") {
      if (pairs.length > 0) this.expect("op", ",");
      const target = this.#target(false);
      this.expect("op", "=");
      pairs.push([target, this.expression()]);
    }
    const body = this.#inner("endwith", true);
    return this.#statement({ type: "with", pairs, body }, line, ...pairs.map(([, e]) => e), body);
  }

  #macro(line: number): Stmt {
    const name = this.#name();
    return this.#withSignature("endmacro", true, (signature, body) =>
      this.#statement({ type: "macro", name, signature, body }, line, ...signature.defaults, body),
    );
  }

  #callBlock(line: number): Stmt {
    let call: Expr | null = null;
    return this.#withSignature(
      "endcall",
      this.is("op", "("),
      (signature, body) =>
        this.#statement(
          { type: "call block", signature, call: call as Expr, body },
          line,
          call,
          ...signature.defaults,
          body,
        ),
      () => {
        call = this.expression();
        if (call.type !== "call") this.fail("expected call", line);
      },
    );
  }

  #withSignature(
    end: string,
    hasParams: boolean,
    make: (signature: Signature, body: Body) => Stmt,
    between: () => void = () => {},
  ): Stmt {
    const { params, defaults } = hasParams ? this.#params() : { params: [], defaults: [] };
    between();
    const uses = new Set<string>();
    this.namesRead.push(uses);
    const body = this.#inner(end, false);
    this.namesRead.pop();
    return make({ params, defaults, uses }, body);
  }

  #params(): { readonly params: string[]; readonly defaults: Expr[] } {
    const params: string[] = [];
    const defaults: Expr[] = [];
    this.expect("op", "(");
    while (!this.is("op", ")")) {
      if (params.length > 0) this.expect("op", ",");
      const name = this.#name();
      if (params.includes(name)) this.fail(`duplicate argument '${name}'`);
      params.push(name);
      if (this.skip("op", "=")) defaults.push(this.expression());
      else if (defaults.length > 0) this.fail("non-default argument follows default argument");
    }
    this.expect("op", ")");
    return { params, defaults };
  }

  #print(line: number): Stmt[] {
    const outputs: Stmt[] = [];
    while (this.token.type !== "end") {
      if (outputs.length > 0) this.expect("op", ",");
      const value = this.expression();
      outputs.push(this.#statement({ type: "output", value }, line, value));
    }
    return outputs;
  }

  #templateBlock(line: number): Stmt {
    const { value: name } = this.expect("name");
    if (this.#blocks.has(name)) this.fail(`block '${name}' defined twice`, line);
    this.#blocks.add(name);
    const scoped = this.skip("name", "scoped");
    if (this.is("name", "required")) this.fail("a required block needs another template", line);
    const body = this.#inner("endblock", false);
    this.skip("name", name);
    return this.#statement({ type: "block", scoped, body }, line, body);
  }

  #name(): string {
    const { value } = this.expect("name");
    if (RESERVED.has(value)) this.fail(`can't assign to '${value}'`);
    return value;
  }

  /** What is assigned to: names, fields of namespaces where allowed, tuples of them. */
  #target(withFields: boolean, end = ""): Target {
    const items: Target[] = [];
    let isTuple = false;
    while (true) {
      if (items.length > 0) this.expect("op", ",");
      if (
        ["end", "print end"].includes(this.token.type) ||
        this.is("op", ")") ||
        (end !== "" && this.is("name", end))
      )
        break;
      items.push(this.#oneTarget(withFields));
      if (!this.is("op", ",")) break;
      isTuple = true;
    }
    const only = items[0];
    if (only === undefined) return this.fail(`expected a name, got ${this.describe()}`);
    return isTuple ? { type: "tuple", items } : only;
  }

  #oneTarget(withFields: boolean): Target {
    if (this.skip("op", "(")) {
      const target = this.nested(() => this.#target(false));
      this.expect("op", ")");
      return target;
    }
    const name = this.#name();
    if (!withFields || !this.skip("op", ".")) return { type: "name", name };
    for (const names of this.namesRead) names.add(name);
    return { type: "field", object: name, name: this.expect("name").value };
  }
}

function bodyOf(statements: readonly Stmt[]): Body {
  return { statements, depth: statements.reduce((most, s) => Math.max(most, s.depth), 0) };
}

function namesIn(target: Target): string[] {
  if (target.type === "tuple") return target.items.flatMap(namesIn);
  return target.type === "name" ? [target.name] : [];
}
