import { isSpace } from "../python-text.ts";
import { checkLength, fail, produce, tick } from "./limits.ts";
import type { Runtime } from "./state.ts";
import { concat, lengthOf, slice, type Text } from "./text.ts";

/** What a piece of text costs in steps: it is an object of its own. */
const PIECE = 10;

export type Side = "strip" | "lstrip" | "rstrip";

/** Python's `strip` and its kin; `chars`: the set of characters to strip, white space where it is null. */
export function strip(text: Text, side: Side, chars: string | null = null): Text {
  const source = text.text;
  const set = chars === null ? null : new Set(chars);
  const strips = (char: string): boolean => (set === null ? isSpace(char) : set.has(char));
  let start = 0;
  let end = source.length;
  if (side !== "rstrip")
    while (start < end) {
      const char = String.fromCodePoint(source.codePointAt(start) ?? 0);
      if (!strips(char)) break;
      start += char.length;
    }
  if (side !== "lstrip")
    while (end > start) {
      const char = characterBefore(source, end, start);
      if (!strips(char)) break;
      end -= char.length;
    }
  return slice(text, start, Math.max(start, end));
}

function characterBefore(source: string, end: number, start: number): string {
  const pair = end - 2 >= start ? (source.codePointAt(end - 2) ?? 0) : 0;
  return pair > 0xffff ? String.fromCodePoint(pair) : (source[end - 1] as string);
}

/** Python's `split(separator, limit)`: white space where the separator is null; no limit where it is negative. */
export function split(rt: Runtime, text: Text, separator: string | null, limit: number): Text[] {
  tick(rt.limits, 1 + text.text.length / 64);
  if (separator === "") fail("empty separator");
  const cuts = separator === null ? words(text.text, limit) : pieces(text.text, separator, limit);
  tick(rt.limits, cuts.length * PIECE);
  return cuts.map(([start, end]) => slice(text, start, Math.max(start, end)));
}

type Cut = readonly [start: number, end: number];

function pieces(source: string, separator: string, limit: number): Cut[] {
  const cuts: Cut[] = [];
  let start = 0;
  for (
    let at = source.indexOf(separator);
    at >= 0 && cuts.length !== limit;
    at = source.indexOf(separator, start)
  ) {
    cuts.push([start, at]);
    start = at + separator.length;
  }
  return [...cuts, [start, source.length]];
}

function words(source: string, limit: number): Cut[] {
  const cuts: Cut[] = [];
  let at = 0;
  while (true) {
    while (at < source.length && isSpace(source[at] as string)) at++;
    if (at >= source.length) return cuts;
    if (cuts.length === limit) return [...cuts, [at, source.length]];
    const start = at;
    while (at < source.length && !isSpace(source[at] as string)) at++;
    cuts.push([start, at]);
  }
}

function trimmedEnd(source: string, from: number): number {
  let end = from;
  while (end > 0 && isSpace(source[end - 1] as string)) end--;
  return end;
}

/** Python's `rsplit`: as `split`, but counting from the right. */
export function rsplit(rt: Runtime, text: Text, separator: string | null, limit: number): Text[] {
  if (limit < 0) return split(rt, text, separator, limit);
  if (separator === "") fail("empty separator");
  tick(rt.limits, 1 + text.text.length / 64);
  const source = text.text;
  const parts: Text[] = [];
  let end = separator === null ? trimmedEnd(source, source.length) : source.length;
  while (parts.length < limit) {
    const [from, before] = separator === null ? wordBefore(source, end) : pieceBefore(source, separator, end);
    if (from < 0) break;
    parts.unshift(slice(text, from, Math.max(from, end)));
    end = before;
    if (separator === null && end === 0) return parts;
  }
  if (separator !== null || end > 0) parts.unshift(slice(text, 0, end));
  return parts;
}

function pieceBefore(source: string, separator: string, end: number): readonly [number, number] {
  const at = end < separator.length ? -1 : source.lastIndexOf(separator, end - separator.length);
  return at < 0 ? [-1, end] : [at + separator.length, at];
}

function wordBefore(source: string, end: number): readonly [number, number] {
  if (end === 0) return [-1, 0];
  let start = end;
  while (start > 0 && !isSpace(source[start - 1] as string)) start--;
  return [start, trimmedEnd(source, start)];
}

/** Python's `splitlines`. */
export function splitLines(rt: Runtime, text: Text, keepEnds = false): Text[] {
  tick(rt.limits, 1 + text.text.length / 64);
  const lines: Text[] = [];
  let start = 0;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: Python breaks lines at these.
  for (const { 0: found, index } of text.text.matchAll(/\r\n|[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]/g)) {
    lines.push(slice(text, start, Math.max(start, index + (keepEnds ? found.length : 0))));
    start = index + found.length;
  }
  if (start < text.text.length) lines.push(slice(text, start));
  tick(rt.limits, lines.length);
  return lines;
}

/** Python's `replace`: what stays keeps its origins, the replacement has its own. */
export function replace(rt: Runtime, text: Text, old: Text, by: Text, limit: number): Text {
  const source = text.text;
  tick(rt.limits, 1 + source.length / 64);
  if (limit === 0 || (old.text !== "" && !source.includes(old.text))) return text;
  const count = replacements(source, old.text, limit);
  tick(rt.limits, count);
  const length = source.length + count * (by.text.length - old.text.length);
  checkLength(rt.limits, length);
  produce(rt.limits, length);
  const isUniform = text.runs === null && by.runs === null && text.origin === by.origin;
  if (isUniform && limit < 0 && old.text !== "")
    return { ...text, text: source.replaceAll(old.text, () => by.text) };
  tick(rt.limits, count * PIECE);
  const cuts = old.text === "" ? betweenCharacters(source, limit) : pieces(source, old.text, limit);
  const parts: Text[] = [];
  cuts.forEach(([start, end], i) => {
    if (i > 0) parts.push(by);
    if (end > start) parts.push(slice(text, start, end));
  });
  return concat(parts, text.markup);
}

function replacements(source: string, old: string, limit: number): number {
  const most = limit < 0 ? Infinity : limit;
  if (old === "") return Math.min(most, lengthOf(source) + 1);
  let count = 0;
  for (let at = source.indexOf(old); at >= 0 && count < most; at = source.indexOf(old, at + old.length))
    count++;
  return count;
}

/** Cuts for an empty string to replace: in front of every character, and at the end. */
function betweenCharacters(source: string, limit: number): Cut[] {
  const cuts: Cut[] = [[0, 0]];
  let at = 0;
  const count = lengthOf(source) + 1;
  for (const char of source) {
    if (cuts.length === limit || cuts.length === count) break;
    cuts.push([at, at + char.length]);
    at += char.length;
  }
  if (limit < 0 || limit >= count) return [...cuts, [source.length, source.length]];
  cuts.push([at, source.length]);
  return cuts;
}
