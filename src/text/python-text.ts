/** What Python's `str.strip()` takes for white space: not U+FEFF, which JavaScript trims, but U+001C to U+001F and
 *  U+0085, which it does not. */
const SPACES = "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000";
const isSpace = (char: string): boolean => SPACES.includes(char) || (char >= "\u2000" && char <= "\u200a");

/** Python's `strip`, `lstrip` or `rstrip`; `chars`: the set of characters to strip, white space without it. */
export function pythonStrip(
  text: string,
  method: "strip" | "lstrip" | "rstrip" = "strip",
  chars: string | null = null,
): string {
  const set = chars === null ? null : new Set(chars);
  const strips = (char: string): boolean => (set === null ? isSpace(char) : set.has(char));
  const characters = Array.from(text);
  let start = 0;
  let end = characters.length;
  if (method !== "rstrip") while (start < end && strips(characters[start] as string)) start++;
  if (method !== "lstrip") while (end > start && strips(characters[end - 1] as string)) end--;
  return characters.slice(start, end).join("");
}

/** Python's `text.split()`: the runs of anything but white space. */
export function pythonSplit(text: string): string[] {
  const words: string[] = [];
  let word = "";
  for (const char of text) {
    if (!isSpace(char)) word += char;
    else if (word !== "") {
      words.push(word);
      word = "";
    }
  }
  return word === "" ? words : [...words, word];
}

/** Name under which templates rewritten by `useOwnStrip` expect `callStrip`. */
export const STRIP_FUNCTION = "lowrank_strip";

/** `STRIP_FUNCTION` of a template: method name, text, characters. */
export function callStrip(method: string, value: unknown, chars?: unknown): string {
  if (method === "trim") return pythonStrip(value === undefined ? "" : String(value), "strip", asText(chars));
  if (typeof value !== "string") throw new Error(`${typeof value} has no method ${method}`);
  return pythonStrip(value, method as "strip" | "lstrip" | "rstrip", asText(chars));
}

const asText = (chars: unknown): string | null => (typeof chars === "string" ? chars : null);

/** Rewrites, in a parsed template, calls of `strip`, `lstrip` and `rstrip` and the `trim` filter into calls of
 *  `callStrip`: `@huggingface/jinja` 0.5 ignores their argument (`content.lstrip('\n')` takes all white space) and
 *  strips JavaScript's white space. */
export function useOwnStrip(node: unknown): void {
  if (typeof node !== "object" || node === null) return;
  const children =
    node instanceof Map ? [...node.keys(), ...node.values()] : Object.values(node as Record<string, unknown>);
  for (const child of children) useOwnStrip(child);
  const { type, callee, args, operand, filter } = node as TemplateNode;
  if (type === "CallExpression" && callee?.type === "MemberExpression" && !callee.computed) {
    const method = callee.property?.value;
    if (method === "strip" || method === "lstrip" || method === "rstrip")
      Object.assign(node, stripCall(method, callee.object, args));
  }
  if (type === "FilterExpression") {
    const name = filter?.type === "CallExpression" ? filter.callee?.value : filter?.value;
    if (name === "trim") Object.assign(node, stripCall("trim", operand, filter?.args));
  }
}

/** The fields of the library's syntax tree that are read here. */
interface TemplateNode {
  readonly type?: string;
  readonly value?: unknown;
  readonly callee?: TemplateNode;
  readonly args?: readonly unknown[];
  readonly object?: unknown;
  readonly property?: TemplateNode;
  readonly computed?: boolean;
  readonly operand?: unknown;
  readonly filter?: TemplateNode;
}

function stripCall(method: string, text: unknown, args: readonly unknown[] = []): TemplateNode {
  const name = { type: "StringLiteral", value: method };
  return {
    type: "CallExpression",
    callee: { type: "Identifier", value: STRIP_FUNCTION },
    args: [name, text, ...args],
  };
}
