import { isFollowedByColon, keyText, stringEnd } from "../../io/json-text.ts";
import { isInexact, markedJson, revived } from "../../text/exact-number.ts";

/** A JSON text, parsed. */
export interface ParsedJson {
  /** Numbers that a double does not hold as they stand are `ExactNumber`s. */
  readonly value: unknown;
  /** Keys that an object has twice; the last one counts. */
  readonly twice: readonly string[];
}

/** Levels of lists and objects that a record may have: more would end the stack somewhere. */
const MAX_DEPTH = 200;

const NUMBER = /-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/g;
/** What a number that is not exact must hold, or a text that looks like one. */
const SUSPICIOUS = /\d\.\d|\d{16}|\d[eE]|-0/;

/** Parses JSON without changing its digits.
 *  @throws SyntaxError for what is no JSON, for half a surrogate pair in a string, and for nesting without end */
export function parseJson(text: string): ParsedJson {
  const keepsDigits = SUSPICIOUS.test(text);
  const { twice, parts, hasHalves } = scan(text, keepsDigits);
  const isMarked = parts.length > 1;
  const parsed: unknown = JSON.parse(isMarked ? parts.join("") : text);
  const value = isMarked ? revived(parsed) : parsed;
  if (hasHalves) checkStrings(value);
  return { value, twice };
}

interface Scan {
  readonly twice: readonly string[];
  /** The text in parts, with marks in the place of numbers; one part where there are none. */
  readonly parts: readonly string[];
  /** A string may hold half a surrogate pair. */
  readonly hasHalves: boolean;
}

/** Goes over a text outside of its strings. What is no JSON is left to the parser. */
function scan(text: string, keepsDigits: boolean): Scan {
  const twice: string[] = [];
  const parts: string[] = [];
  const open: (Set<string> | null)[] = [];
  let done = 0;
  let hasHalves = false;
  const outside = (from: number, to: number): void => {
    for (let i = from; i < to; i++) {
      const c = text.charCodeAt(i);
      if (c === 123 || c === 91) open.push(c === 123 ? new Set() : null);
      else if (c === 125 || c === 93) open.pop();
      if (open.length > MAX_DEPTH) throw new SyntaxError(`nested more than ${MAX_DEPTH} levels deep`);
    }
    if (!keepsDigits) return;
    const between = text.slice(from, to);
    for (const { index, 0: digits } of between.matchAll(NUMBER)) {
      if (!isInexact(digits)) continue;
      parts.push(text.slice(done, from + index), markedJson(digits));
      done = from + index + digits.length;
    }
  };
  let at = 0;
  for (let start = text.indexOf('"'); start >= 0; start = text.indexOf('"', at)) {
    outside(at, start);
    const end = stringEnd(text, start);
    const literal = text.slice(start, end + 1);
    if (/\\u[dD][89a-fA-F]/.test(literal)) hasHalves = true;
    at = end + 1;
    const keys = open.at(-1);
    if (!keys || !isFollowedByColon(text, at)) continue;
    const key = keyText(literal);
    if (keys.has(key)) twice.push(key);
    keys.add(key);
  }
  outside(at, text.length);
  parts.push(text.slice(done));
  return { twice, parts, hasHalves };
}

const HALF = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

function checkStrings(value: unknown): void {
  if (typeof value === "string") {
    const half = HALF.exec(value);
    if (half)
      throw new SyntaxError(
        `a string holds half a surrogate pair (\\u${half[0].charCodeAt(0).toString(16)}), which is no character`,
      );
  } else if (Array.isArray(value)) value.forEach(checkStrings);
  else if (typeof value === "object" && value !== null)
    for (const [key, inner] of Object.entries(value)) {
      checkStrings(key);
      checkStrings(inner);
    }
}
