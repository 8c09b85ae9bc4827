import { pythonStrip } from "../python-text.ts";

/** Where a stretch of a text comes from. */
export interface Source {
  /** The item of the data, e.g. `messages[2].content`; null for text of the template. */
  readonly origin: string | null;
  /** It was written inside a `{% generation %}` block. */
  readonly isGenerated: boolean;
}

/** A stretch of a text, up to `end` (UTF-16 units). */
interface Run extends Source {
  readonly end: number;
}

const TEMPLATE: Source = { origin: null, isGenerated: false };

/** A text that knows of each character where it comes from. What operations make of texts keeps that; comparisons do not see it. */
export class Text {
  readonly value: string;
  /** Ascending, the last one ends with the text; empty for an empty text. */
  readonly runs: readonly Run[];

  constructor(value: string, runs: readonly Run[]) {
    this.value = value;
    this.runs = runs;
  }

  get length(): number {
    return this.value.length;
  }
}

/** A text that comes from one place, by default the template. */
export function textOf(value: string, { origin, isGenerated }: Source = TEMPLATE): Text {
  return value === "" ? EMPTY : new Text(value, [{ origin, isGenerated, end: value.length }]);
}

export const EMPTY: Text = new Text("", []);

/** Where the first character comes from. */
export function sourceOf(text: Text): Source {
  return text.runs[0] ?? TEMPLATE;
}

/** [start, end) of a text. */
export function slice(text: Text, start: number, end: number = text.length): Text {
  if (start >= end) return EMPTY;
  if (start <= 0 && end >= text.length) return text;
  const runs: Run[] = [];
  let from = 0;
  for (const run of text.runs) {
    if (run.end > start && from < end) runs.push({ ...run, end: Math.min(run.end, end) - start });
    from = run.end;
  }
  return new Text(text.value.slice(start, end), runs);
}

/** Texts one after the other. */
export function concat(parts: readonly Text[]): Text {
  const filled = parts.filter((part) => part.length > 0);
  if (filled.length <= 1) return filled[0] ?? EMPTY;
  const runs: Run[] = [];
  let length = 0;
  for (const part of filled) {
    for (const run of part.runs) pushRun(runs, run, length + run.end);
    length += part.length;
  }
  return new Text(filled.map((part) => part.value).join(""), runs);
}

function pushRun(runs: Run[], { origin, isGenerated }: Source, end: number): void {
  const last = runs.at(-1);
  if (last && last.origin === origin && last.isGenerated === isGenerated)
    runs[runs.length - 1] = { ...last, end };
  else runs.push({ origin, isGenerated, end });
}

/** The text inside a generation block. */
export function generated(text: Text): Text {
  return new Text(
    text.value,
    text.runs.map((run) => ({ ...run, isGenerated: true })),
  );
}

/** A text whose stretches are changed one by one. */
export function mapRuns(text: Text, change: (value: string, start: number) => string): Text {
  let from = 0;
  return concat(
    text.runs.map((run) => {
      const start = from;
      from = run.end;
      return textOf(change(text.value.slice(start, run.end), start), run);
    }),
  );
}

/** Texts between a separator, as Python's `split(separator, limit)` (from the right: `rsplit`); -1: no limit. */
export function split(text: Text, separator: string, limit = -1, isFromRight = false): Text[] {
  const cuts: number[] = [];
  if (isFromRight)
    for (let at = text.length; (limit < 0 || cuts.length < limit) && at >= separator.length; ) {
      const found = text.value.lastIndexOf(separator, at - separator.length);
      if (found < 0) break;
      cuts.unshift(found);
      at = found;
    }
  else
    for (let at = 0; limit < 0 || cuts.length < limit; ) {
      const found = text.value.indexOf(separator, at);
      if (found < 0) break;
      cuts.push(found);
      at = found + separator.length;
    }
  const starts = [0, ...cuts.map((cut) => cut + separator.length)];
  return starts.map((start, i) => slice(text, start, cuts[i] ?? text.length));
}

const SPACES =
  "\\t\\n\\v\\f\\r\\x1c-\\x1f \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

/** Words between white space, as Python's `split()`. */
export function words(text: Text, limit = -1, isFromRight = false): Text[] {
  const found = [...text.value.matchAll(new RegExp(`[^${SPACES}]+`, "gu"))];
  const cut = (from: number, to: number): Text => slice(text, from, to);
  const all = found.map((match) => cut(match.index, match.index + match[0].length));
  if (limit < 0 || all.length <= limit + 1)
    return limit === 0 ? [strip(text)].filter((t) => t.length > 0) : all;
  if (isFromRight) {
    const first = all.length - limit - 1;
    const end = (found[first] as RegExpExecArray).index + (all[first] as Text).length;
    return [strip(cut(0, end), "lstrip"), ...all.slice(first + 1)];
  }
  return [...all.slice(0, limit), strip(cut((found[limit] as RegExpExecArray).index, text.length), "lstrip")];
}

const ENDS = "\\n\\r\\v\\f\\x1c-\\x1e\\x85\\u2028\\u2029";
const LINE_ENDS = new RegExp(`\\r\\n|[${ENDS}]`, "gu");

/** Lines, as Python's `splitlines`. */
export function lines(text: Text, keepsEnds = false): Text[] {
  const parts: Text[] = [];
  let from = 0;
  for (const { index, 0: end } of text.value.matchAll(LINE_ENDS)) {
    parts.push(slice(text, from, keepsEnds ? index + end.length : index));
    from = index + end.length;
  }
  return from < text.length ? [...parts, slice(text, from)] : parts;
}

/** Python's `strip`, `lstrip` or `rstrip`; `chars`: the characters to strip, white space without them. */
export function strip(
  text: Text,
  method: "strip" | "lstrip" | "rstrip" = "strip",
  chars: string | null = null,
): Text {
  const end = method === "lstrip" ? text.length : pythonStrip(text.value, "rstrip", chars).length;
  if (method === "rstrip") return slice(text, 0, end);
  const start = text.length - pythonStrip(text.value, "lstrip", chars).length;
  return slice(text, start, Math.max(start, end));
}

/** Every `search` replaced, at most `limit` of them (-1: all); the text between keeps its places. */
export function replace(text: Text, search: string, replacement: Text, limit = -1): Text {
  if (search === "") {
    const chars = characters(text);
    const count = limit < 0 ? chars.length + 1 : limit;
    return concat([
      ...chars.flatMap((char, i) => (i < count ? [replacement, char] : [char])),
      ...(count > chars.length ? [replacement] : []),
    ]);
  }
  const parts = split(text, search, limit);
  return concat(parts.flatMap((part, i) => (i === 0 ? [part] : [replacement, part])));
}

/** Characters (code points) of a text. */
export function characters(text: Text): Text[] {
  const found: Text[] = [];
  let at = 0;
  for (const char of text.value) {
    found.push(slice(text, at, at + char.length));
    at += char.length;
  }
  return found;
}

/** Characters that a text has, as Python counts them. */
export function characterCount(value: string): number {
  return isPlain(value) ? value.length : Array.from(value).length;
}

const isPlain = (value: string): boolean => !/[\ud800-\udfff]/.test(value);

/** Offset in UTF-16 units of a character. */
export function unitOffset(value: string, characterIndex: number): number {
  if (isPlain(value)) return characterIndex;
  let at = 0;
  let count = 0;
  for (const char of value) {
    if (count++ >= characterIndex) break;
    at += char.length;
  }
  return at;
}
