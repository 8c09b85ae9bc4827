import { TemplateFault } from "./limits.ts";

/** A token of a template. Operators and marks have their own text as type. */
export interface Token {
  readonly type:
    | "data"
    | "name"
    | "string"
    | "int"
    | "float"
    | "begin"
    | "end"
    | "print"
    | "print end"
    | "eof"
    | "op";
  readonly value: string;
  readonly line: number;
}

/** What Python's `\s` and `str.strip` take for white space, as a class of a regular expression. */
export const SPACE =
  "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";

const sticky = (pattern: string): RegExp => new RegExp(pattern, "uy");
const RAW_BEGIN = sticky(`\\{%([-+]?)${SPACE}*raw${SPACE}*(?:-%\\}${SPACE}*|%\\})`);
const RAW_END = new RegExp(`\\{%([-+]?)${SPACE}*endraw${SPACE}*(?:\\+%\\}|-%\\}${SPACE}*|%\\}\\n?)`, "gu");
const COMMENT_END = new RegExp(`\\+#\\}|-#\\}${SPACE}*|#\\}\\n?`, "gu");
const BLOCK_END = sticky(`\\+%\\}|-%\\}${SPACE}*|%\\}\\n?`);
const PRINT_END = sticky(`-\\}\\}${SPACE}*|\\}\\}`);
const SPACES = sticky(`${SPACE}+`);
const FLOAT = sticky(
  "(?<!\\.)(?:\\d+_)*\\d+(?:(?:\\.(?:\\d+_)*\\d+)?[eE][+-]?(?:\\d+_)*\\d+|\\.(?:\\d+_)*\\d+)",
);
const INT = sticky("0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0[xX](?:_?[\\da-fA-F])+|[1-9](?:_?\\d)*|0(?:_?0)*");
const NAME = sticky("[\\p{L}\\p{N}\\p{M}_]+");
const IDENTIFIER = /^[\p{L}\p{Nl}_][\p{L}\p{N}\p{M}_]*$/u;
const STRING = sticky("'[^'\\\\]*(?:\\\\[\\s\\S][^'\\\\]*)*'|\"[^\"\\\\]*(?:\\\\[\\s\\S][^\"\\\\]*)*\"");
const OPERATOR = sticky("\\*\\*|//|==|!=|>=|<=|[-+/*%~[\\](){}><=.:|,;]");
const TRAILING_SPACES = new RegExp(`${SPACE}+$`, "u");
const ONLY_SPACES = new RegExp(`^${SPACE}+$`, "u");
const CLOSING: Readonly<Record<string, string>> = { "(": ")", "[": "]", "{": "}" };

/** Cuts a template into tokens as jinja2's lexer does with `trim_blocks` and `lstrip_blocks`. */
export function tokenize(template: string): Token[] {
  const source = template.replace(/\r\n?/g, "\n").replace(/\n$/, "");
  const tokens: Token[] = [];
  let at = 0;
  let line = 1;
  let isLineStart = true; // whether the last match ended with a line break

  function error(message: string): never {
    throw new TemplateFault(message, line);
  }
  const advance = (to: number): void => {
    for (let i = source.indexOf("\n", at); i >= 0 && i < to; i = source.indexOf("\n", i + 1)) line++;
    isLineStart = source[to - 1] === "\n";
    at = to;
  };
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    return pattern.exec(source);
  };
  /** Text in front of a tag, without the white space that the tag's sign or `lstrip_blocks` takes. */
  const data = (to: number, sign: string, isPrint: boolean): void => {
    let text = source.slice(at, to);
    if (sign === "-") text = text.replace(TRAILING_SPACES, "");
    else if (sign !== "+" && !isPrint) {
      const start = text.lastIndexOf("\n") + 1;
      if ((start > 0 || isLineStart) && ONLY_SPACES.test(text.slice(start))) text = text.slice(0, start);
    }
    if (text !== "") tokens.push({ type: "data", value: text, line });
    advance(to);
  };

  const comment = (): void => {
    const end = match(COMMENT_END);
    if (end === null) error("Missing end of comment tag");
    advance(end.index + end[0].length);
  };
  const raw = (begin: RegExpExecArray): void => {
    advance(begin.index + begin[0].length);
    const end = match(RAW_END);
    if (end === null) error("Missing end of raw directive");
    data(end.index, end[1] ?? "", false);
    advance(at + end[0].length);
  };

  const inside = (isPrint: boolean): void => {
    const open: string[] = [];
    const push = (type: Token["type"], value: string): void => {
      tokens.push({ type, value, line });
      advance(at + value.length);
    };
    while (at < source.length) {
      const end = open.length === 0 ? match(isPrint ? PRINT_END : BLOCK_END) : null;
      if (end !== null) {
        tokens.push({ type: isPrint ? "print end" : "end", value: end[0], line });
        advance(at + end[0].length);
        return;
      }
      const space = match(SPACES);
      if (space !== null) {
        advance(at + space[0].length);
        continue;
      }
      const found = (["float", "int", "name", "string", "op"] as const)
        .map((type) => ({ type, text: match(PATTERNS[type])?.[0] }))
        .find((f) => f.text !== undefined);
      if (found?.text === undefined) error(`unexpected char '${source[at]}'`);
      const { type, text } = found;
      if (type === "name" && !IDENTIFIER.test(text)) error("Invalid character in identifier");
      if (type === "op") {
        const closing = CLOSING[text];
        if (closing !== undefined) open.push(closing);
        else if (text === ")" || text === "]" || text === "}") {
          const expected = open.pop();
          if (expected !== text) error(`unexpected '${text}'${expected ? `, expected '${expected}'` : ""}`);
        }
      }
      push(type, text);
    }
  };

  const tag = /\{[%#{]/g;
  while (at < source.length) {
    tag.lastIndex = at;
    const start = tag.exec(source)?.index;
    if (start === undefined) {
      tokens.push({ type: "data", value: source.slice(at), line });
      advance(source.length);
      break;
    }
    const mark = source[start + 1];
    const sign = /[-+]/.test(source[start + 2] ?? "") ? (source[start + 2] as string) : "";
    data(start, sign, mark === "{");
    const rawBegin = mark === "%" ? match(RAW_BEGIN) : null;
    if (rawBegin !== null) {
      raw(rawBegin);
      continue;
    }
    if (mark !== "#") tokens.push({ type: mark === "%" ? "begin" : "print", value: "", line });
    advance(at + 2 + sign.length);
    if (mark === "#") comment();
    else inside(mark === "{");
  }
  tokens.push({ type: "eof", value: "", line });
  return tokens;
}

const PATTERNS = { float: FLOAT, int: INT, name: NAME, string: STRING, op: OPERATOR } as const;

const ESCAPES: Readonly<Record<string, string>> = {
  n: "\n",
  t: "\t",
  r: "\r",
  a: "\x07",
  b: "\b",
  f: "\f",
  v: "\v",
  "\\": "\\",
  "'": "'",
  '"': '"',
  "\n": "",
};

/** Value of a string literal: Python's `unicode-escape`.
 *  @throws TemplateFault on an escape that Python refuses. */
export function unescaped(token: Token): string {
  const pattern = /\\(?:([0-7]{1,3})|x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([\s\S]))/g;
  return token.value.slice(1, -1).replace(pattern, (whole, octal, x, u, long, char) => {
    if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8));
    const hex = x ?? u ?? long;
    if (hex !== undefined) {
      const code = Number.parseInt(hex, 16);
      if (code > 0x10ffff) throw new TemplateFault("illegal Unicode character", token.line);
      return String.fromCodePoint(code);
    }
    if ("xuUN".includes(char)) throw new TemplateFault(`cannot read the escape ${whole}`, token.line);
    return ESCAPES[char] ?? whole;
  });
}
