import { TemplateError } from "./errors.ts";

/** A token of a template. `data` is text outside of tags, `open` and `close` are the ends of a tag. */
export interface Token {
  readonly kind: "data" | "open" | "close" | "name" | "string" | "integer" | "float" | "operator" | "end";
  readonly value: string;
  readonly line: number;
  /** Of `open` and `close`: a statement, or an expression to print. */
  readonly tag?: "statement" | "print";
}

/** Cuts a template into tokens, as jinja2's lexer does with trim_blocks and lstrip_blocks: line ends become \n, one line end at the end of
 *  the template is dropped, so is one behind a statement or comment, and white space in front of one that begins a line.
 *  @throws TemplateError for a tag that does not end, and characters that no token begins with */
export function tokenize(template: string): Token[] {
  const source = template.replace(/\r\n?/g, "\n").replace(/\n$/, "");
  const tokens: Token[] = [];
  const lines = lineCounter(source);
  let at = 0;
  /** What the tag before does to white space: all of it, one line end, or nothing. */
  let trims: "all" | "line" | "none" = "none";
  while (at < source.length) {
    const open = nextTag(source, at);
    const text = source.slice(at, open.start);
    pushData(tokens, trimmed(text, trims, open, source, at), lines(at));
    if (open.mark === null) break;
    at = open.end;
    if (open.mark === "{#") ({ at, trims } = skipComment(source, at, lines));
    else if (open.isRaw) ({ at, trims } = pushRaw(tokens, source, open, lines));
    else {
      const tag = open.mark === "{%" ? "statement" : "print";
      tokens.push({ kind: "open", value: open.mark, line: lines(open.start), tag });
      ({ at, trims } = pushTag(tokens, source, at, tag, lines));
    }
  }
  tokens.push({ kind: "end", value: "", line: lines(source.length) });
  return tokens;
}

type Lines = (offset: number) => number;

function lineCounter(source: string): Lines {
  let line = 1;
  let from = 0;
  return (offset) => {
    if (offset < from) [line, from] = [1, 0];
    for (let i = source.indexOf("\n", from); i >= 0 && i < offset; i = source.indexOf("\n", i + 1)) {
      line++;
      from = i + 1;
    }
    return line;
  };
}

interface Opening {
  readonly start: number;
  /** Behind the mark and its sign. */
  readonly end: number;
  /** null at the end of the template. */
  readonly mark: "{%" | "{{" | "{#" | null;
  readonly sign: "-" | "+" | "";
  readonly isRaw: boolean;
}

const OPENING = /\{[%{#]/g;
const RAW = /\{%[-+]?\s*raw\s*(-?)%\}/y;

function nextTag(source: string, from: number): Opening {
  OPENING.lastIndex = from;
  const match = OPENING.exec(source);
  if (match === null) return { start: source.length, end: source.length, mark: null, sign: "", isRaw: false };
  const start = match.index;
  const next = source[start + 2];
  const sign = next === "-" || next === "+" ? next : "";
  RAW.lastIndex = start;
  const isRaw = RAW.test(source);
  return { start, end: start + 2 + sign.length, mark: match[0] as "{%", sign, isRaw };
}

/** Text between two tags, without the white space that they take with them. */
function trimmed(
  text: string,
  trims: "all" | "line" | "none",
  open: Opening,
  source: string,
  from: number,
): string {
  let result = text;
  if (trims === "all") result = result.replace(/^\s+/u, "");
  else if (trims === "line") result = result.replace(/^\n/, "");
  if (open.mark === null) return result;
  if (open.sign === "-") return result.replace(/\s+$/u, "");
  if (open.mark === "{{" || open.sign === "+") return result;
  // lstrip_blocks: a tag that only white space stands before in its line takes that with it.
  const lineStart = source.lastIndexOf("\n", open.start - 1) + 1;
  const isOwn = lineStart >= from || (from === 0 && lineStart === 0);
  if (!isOwn || /[^ \t\v\f]/.test(source.slice(Math.max(lineStart, from), open.start))) return result;
  return result.replace(/[ \t\v\f]+$/, "");
}

function pushData(tokens: Token[], value: string, line: number): void {
  if (value !== "") tokens.push({ kind: "data", value, line });
}

interface After {
  readonly at: number;
  readonly trims: "all" | "line" | "none";
}

function skipComment(source: string, from: number, lines: Lines): After {
  const end = source.indexOf("#}", from);
  if (end < 0) throw new TemplateError("a comment does not end", lines(from));
  const sign = end > from ? source[end - 1] : "";
  return { at: end + 2, trims: sign === "-" ? "all" : sign === "+" ? "none" : "line" };
}

function pushRaw(tokens: Token[], source: string, open: Opening, lines: Lines): After {
  RAW.lastIndex = open.start;
  const [whole, minus] = RAW.exec(source) as RegExpExecArray;
  const from = open.start + (whole as string).length;
  const end = /\{%([-+]?)\s*endraw\s*([-+]?)%\}/g;
  end.lastIndex = from;
  const match = end.exec(source);
  if (match === null) throw new TemplateError("a raw block does not end", lines(from));
  let text = source.slice(from, match.index);
  text = minus === "-" ? text.replace(/^\s+/u, "") : text.replace(/^\n/, "");
  if (match[1] === "-") text = text.replace(/\s+$/u, "");
  else if (match[1] === "") text = text.replace(/(^|\n)[ \t\v\f]+$/, "$1");
  pushData(tokens, text, lines(from));
  return {
    at: match.index + match[0].length,
    trims: match[2] === "-" ? "all" : match[2] === "+" ? "none" : "line",
  };
}

const SPACE = /\s+/y;
const NAME = /[\p{L}_][\p{L}\p{N}_]*/uy;
const FLOAT = /(?:\d+_)*\d+(?:\.(?:\d+_)*\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+)/y;
const INTEGER = /0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0[xX](?:_?[\da-fA-F])+|[1-9](?:_?\d)*|0(?:_?0)*/y;
const STRING = /'((?:[^'\\]|\\[\s\S])*)'|"((?:[^"\\]|\\[\s\S])*)"/y;
const OPERATOR = /\/\/|\*\*|[=!<>]=|[-+*/%~<>=()[\]{},.:|;]/y;

function matchAt(pattern: RegExp, source: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(source);
}

/** The tokens of a tag, up to its end. */
function pushTag(
  tokens: Token[],
  source: string,
  from: number,
  tag: "statement" | "print",
  lines: Lines,
): After {
  const close = tag === "statement" ? "%}" : "}}";
  const brackets: string[] = [];
  let at = from;
  for (;;) {
    at += matchAt(SPACE, source, at)?.[0].length ?? 0;
    if (at >= source.length) throw new TemplateError("a tag does not end", lines(from));
    const sign = /[-+]/.test(source[at] as string) ? (source[at] as string) : "";
    if (
      brackets.length === 0 &&
      source.startsWith(close, at + sign.length) &&
      !(sign === "+" && tag === "print")
    ) {
      tokens.push({ kind: "close", value: close, line: lines(at), tag });
      const trims = sign === "-" ? "all" : tag === "print" || sign === "+" ? "none" : "line";
      return { at: at + sign.length + close.length, trims };
    }
    const token = tokenAt(source, at, tokens.at(-1), lines);
    tokens.push(token.token);
    if ("([{".includes(token.token.value) && token.token.kind === "operator")
      brackets.push(token.token.value);
    if (")]}".includes(token.token.value) && token.token.kind === "operator") brackets.pop();
    at = token.end;
  }
}

function tokenAt(
  source: string,
  at: number,
  before: Token | undefined,
  lines: Lines,
): { token: Token; end: number } {
  const make = (kind: Token["kind"], value: string, length: number) => ({
    token: { kind, value, line: lines(at) },
    end: at + length,
  });
  // Behind a dot digits are an index: a.0.1
  const float = before?.value === "." && before.kind === "operator" ? null : matchAt(FLOAT, source, at);
  if (float) return make("float", float[0].replaceAll("_", ""), float[0].length);
  const integer = matchAt(INTEGER, source, at);
  if (integer) return make("integer", integer[0].replaceAll("_", ""), integer[0].length);
  const name = matchAt(NAME, source, at);
  if (name) return make("name", name[0], name[0].length);
  const string = matchAt(STRING, source, at);
  if (string) return make("string", unescaped(string[1] ?? string[2] ?? "", lines(at)), string[0].length);
  const operator = matchAt(OPERATOR, source, at);
  if (operator) return make("operator", operator[0], operator[0].length);
  throw new TemplateError(
    `unexpected character ${JSON.stringify(String.fromCodePoint(source.codePointAt(at) ?? 0))}`,
    lines(at),
  );
}

const ESCAPES: Readonly<Record<string, string>> = {
  ...{ n: "\n", t: "\t", r: "\r", b: "\b", f: "\f", v: "\v", a: "\x07" },
  ...{ "\\": "\\", "'": "'", '"': '"', "\n": "" },
};

/** A string literal's text, with Python's escapes; unknown ones stay as they are. */
function unescaped(text: string, line: number): string {
  return text.replace(
    /\\(x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}|[0-7]{1,3}|[\s\S])/g,
    (whole, code: string) => {
      if (/^[xuU]./.test(code)) {
        const point = Number.parseInt(code.slice(1), 16);
        if (point > 0x10ffff) throw new TemplateError(`no such character: ${whole}`, line);
        return String.fromCodePoint(point);
      }
      if (/^[0-7]/.test(code)) return String.fromCodePoint(Number.parseInt(code, 8));
      return ESCAPES[code] ?? whole;
    },
  );
}
