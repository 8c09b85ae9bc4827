import { FormatError } from "../errors.ts";
import { isFollowedByColon, keyText, stringEnd } from "./json-text.ts";

const QUOTE = 34;
const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;
const OPEN_BRACKET = 91;
const CLOSE_BRACKET = 93;

/** What `JSON.parse` does not report: the first key given twice in one object, and nesting beyond a limit. */
function structureFault(text: string, depthLimit: number): string | null {
  const open: (Set<string> | null)[] = [];
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === QUOTE) {
      const end = stringEnd(text, i);
      const keys = open.at(-1);
      if (keys && isFollowedByColon(text, end + 1)) {
        const key = keyText(text.slice(i, end + 1));
        if (keys.has(key)) return `key "${key}" is given twice`;
        keys.add(key);
      }
      i = end;
    } else if (c === OPEN_BRACE || c === OPEN_BRACKET) {
      open.push(c === OPEN_BRACE ? new Set() : null);
      if (open.length > depthLimit) return `is nested more than ${depthLimit} levels deep`;
    } else if (c === CLOSE_BRACE || c === CLOSE_BRACKET) open.pop();
  }
  return null;
}

/** A JSON object from bytes: UTF-8 (a byte order mark is allowed), no key twice, at most `depthLimit` levels.
 *  @throws FormatError naming `where`. */
export function parseJsonObject(bytes: Uint8Array, where: string, depthLimit = 64): Record<string, unknown> {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new FormatError(where, "is not UTF-8 text", { cause: error });
  }
  const fault = structureFault(text, depthLimit);
  if (fault) throw new FormatError(where, `JSON ${fault}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new FormatError(where, `is not JSON (${(error as Error).message})`, { cause: error });
  }
  if (!isObject(value)) throw new FormatError(where, `expected a JSON object, got ${kindOf(value)}`);
  return value;
}

/** True for `{…}`, not for arrays and null. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** How a JSON value is called in messages. */
export function kindOf(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "object") return "an object";
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
