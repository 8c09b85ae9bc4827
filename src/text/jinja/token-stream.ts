import type { Token } from "./lexer.ts";
import { MAX_DEPTH, TemplateFault } from "./limits.ts";

/** Tokens of a template, read in order by the rules of a grammar. */
export class TokenStream {
  readonly #tokens: readonly Token[];
  #at = 0;
  #nesting = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  protected get token(): Token {
    return this.#tokens[this.#at] as Token;
  }
  protected next(): Token {
    const { token } = this;
    if (token.type !== "eof") this.#at++;
    return token;
  }
  protected fail(message: string, line: number = this.token.line): never {
    throw new TemplateFault(message, line);
  }
  protected is(type: Token["type"], value?: string, ahead = 0): boolean {
    const token = this.#tokens[this.#at + ahead];
    return token !== undefined && token.type === type && (value === undefined || token.value === value);
  }
  protected skip(type: Token["type"], value?: string): boolean {
    if (!this.is(type, value)) return false;
    this.next();
    return true;
  }
  protected expect(type: Token["type"], value?: string): Token {
    if (!this.is(type, value)) this.fail(`expected ${value ?? NAMES[type]}, got ${this.describe()}`);
    return this.next();
  }
  protected describe({ type, value }: Token = this.token): string {
    return NAMES[type] ?? `'${value}'`;
  }

  /** Runs a rule one level deeper.
   *  @throws TemplateFault if that is too deep. */
  protected nested<T>(rule: () => T): T {
    if (++this.#nesting > MAX_DEPTH) this.fail(`nested deeper than ${MAX_DEPTH} levels`);
    const result = rule();
    this.#nesting--;
    return result;
  }
}

const NAMES: Readonly<Record<string, string>> = {
  data: "text",
  begin: "a block",
  end: "the end of the block",
  print: "{{",
  "print end": "}}",
  eof: "the end of the template",
};
