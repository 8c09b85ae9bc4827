/** Where characters come from. One object per path and generation, so that origins are compared by identity. */
export interface Origin {
  /** Data they came from, e.g. `messages[2].content`; null: the template. */
  readonly path: string | null;
  /** Number of the `{% generation %}` block that wrote them, from 1; 0: none did. */
  readonly generation: number;
}

export const TEMPLATE: Origin = { path: null, generation: 0 };

/** Characters up to `end` (in UTF-16 units, from the end of the run before) have one origin. */
export interface Run {
  readonly end: number;
  readonly origin: Origin;
}

/** A string that knows where each of its characters comes from. */
export interface Text {
  readonly kind: "text";
  readonly text: string;
  /** Origin of all characters where `runs` is null; else that of values read from the text (a number, say). */
  readonly origin: Origin;
  readonly runs: readonly Run[] | null;
  /** jinja2's Markup: text joined to it with `+` is escaped. */
  readonly markup: boolean;
}

export function textOf(text: string, origin: Origin = TEMPLATE, markup = false): Text {
  return { kind: "text", text, origin, runs: null, markup };
}

export const EMPTY: Text = textOf("");

/** Text of runs that cover it, the last ending where it ends. */
export function textOfRuns(text: string, runs: readonly Run[], markup = false): Text {
  const first = runs[0];
  if (first === undefined) return textOf(text, TEMPLATE, markup);
  if (runs.length === 1) return textOf(text, first.origin, markup);
  const data = runs.find((r) => r.origin.path !== null);
  return { kind: "text", text, origin: (data ?? first).origin, runs, markup };
}

export function runsOf(text: Text): readonly Run[] {
  if (text.runs !== null) return text.runs;
  return text.text === "" ? [] : [{ end: text.text.length, origin: text.origin }];
}

/** Adds a run to those of a text under construction; joins it to the last where origins agree. */
function addRun(runs: Run[], end: number, origin: Origin): void {
  const last = runs.at(-1);
  if (last !== undefined && last.origin === origin) runs[runs.length - 1] = { end, origin };
  else runs.push({ end, origin });
}

export function concat(parts: readonly Text[], markup = false): Text {
  const filled = parts.filter((p) => p.text !== "");
  const first = filled[0];
  if (first === undefined) return markup ? textOf("", TEMPLATE, true) : EMPTY;
  const text = filled.length === 2 ? first.text + filled[1]?.text : filled.map((p) => p.text).join("");
  if (filled.every((p) => p.runs === null && p.origin === first.origin))
    return textOf(text, first.origin, markup);
  const runs: Run[] = [];
  let at = 0;
  for (const part of filled) {
    if (part.runs === null) addRun(runs, at + part.text.length, part.origin);
    else for (const run of part.runs) addRun(runs, at + run.end, run.origin);
    at += part.text.length;
  }
  return textOfRuns(text, runs, markup);
}

/** Index of the run that holds the character at `at`. */
function runAt(runs: readonly Run[], at: number): number {
  let low = 0;
  let high = runs.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((runs[middle] as Run).end > at) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Characters [start, end), in UTF-16 units. */
export function slice(text: Text, start: number, end: number = text.text.length): Text {
  if (start <= 0 && end >= text.text.length) return text;
  const cut = text.text.slice(start, end);
  if (text.runs === null || cut === "") return textOf(cut, text.origin, text.markup);
  const runs: Run[] = [];
  for (let i = runAt(text.runs, start); i < text.runs.length; i++) {
    const run = text.runs[i] as Run;
    addRun(runs, Math.min(run.end, end) - start, run.origin);
    if (run.end >= end) break;
  }
  return textOfRuns(cut, runs, text.markup);
}

/** Origin of the character at `at`. */
export function originAt(text: Text, at: number): Origin {
  return text.runs === null ? text.origin : (text.runs[runAt(text.runs, at)] as Run).origin;
}

/** The text with each run rewritten by itself. Where `change` looks beyond a run (a final sigma), the whole text's
 *  result counts, as long as it is equally long. */
export function mapText(text: Text, change: (part: string) => string): Text {
  if (text.runs === null) return textOf(change(text.text), text.origin, text.markup);
  let start = 0;
  const parts = text.runs.map(({ end, origin }) => {
    const part = change(text.text.slice(start, end));
    start = end;
    return textOf(part, origin);
  });
  const joined = concat(parts, text.markup);
  const whole = change(text.text);
  return whole.length === joined.text.length ? { ...joined, text: whole } : joined;
}

/** The text with every character's origin replaced. */
export function mapOrigins(text: Text, change: (origin: Origin) => Origin): Text {
  if (text.runs === null) return { ...text, origin: change(text.origin) };
  return textOfRuns(
    text.text,
    text.runs.map(({ end, origin }) => ({ end, origin: change(origin) })),
    text.markup,
  );
}

export function repeat(text: Text, times: number): Text {
  if (times <= 0 || text.text === "") return textOf("", text.origin, text.markup);
  if (text.runs === null) return textOf(text.text.repeat(times), text.origin, text.markup);
  return concat(new Array<Text>(times).fill(text), text.markup);
}

export function join(parts: readonly Text[], separator: Text): Text {
  if (separator.text === "") return concat(parts);
  return concat(parts.flatMap((part, i) => (i === 0 ? [part] : [separator, part])));
}

const SURROGATE = /[\ud800-\udfff]/;

/** Whether characters and UTF-16 units are the same. */
export const isPlain = (text: string): boolean => !SURROGATE.test(text);

/** Length in characters. */
export function lengthOf(text: string): number {
  if (isPlain(text)) return text.length;
  let n = 0;
  for (const _ of text) n++;
  return n;
}

/** Offset in UTF-16 units of every character of a text, and its end; null where they are the same. */
export function offsetsOf(text: string): number[] | null {
  if (isPlain(text)) return null;
  const offsets: number[] = [];
  let at = 0;
  for (const char of text) {
    offsets.push(at);
    at += char.length;
  }
  offsets.push(at);
  return offsets;
}

/** The characters of a text. */
export function* charactersOf(text: Text): Generator<Text> {
  let at = 0;
  for (const char of text.text) {
    yield textOf(char, text.runs === null ? text.origin : originAt(text, at), text.markup);
    at += char.length;
  }
}

/** Order of strings by characters (Python's), not by UTF-16 units. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  if (isPlain(a) && isPlain(b)) return a < b ? -1 : 1;
  const [left, right] = [Array.from(a), Array.from(b)];
  for (let i = 0; i < left.length && i < right.length; i++) {
    const difference = (left[i]?.codePointAt(0) ?? 0) - (right[i]?.codePointAt(0) ?? 0);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}
