import { skipSpace } from "./json-scan.ts";
import { partialLength } from "./partial.ts";
import type { ToolCall, ToolCallForm, ToolCallRead } from "./tool-call-forms.ts";

/** A part of an answer. */
export type AnswerPart = { readonly text: string } | { readonly call: ToolCall };

/** Tells calls from text while an answer is written. */
export interface ToolCallReader {
  /** Takes new text; gives back what is certain: text, and calls that are complete. What may be a call is held. */
  push(text: string): AnswerPart[];
  /** What was held, when the answer is over: a call that is not complete is text. */
  flush(): AnswerPart[];
}

/** Reader of one answer. What is no well-formed call comes out as text, as it was written; only white space before the first call, and
 *  what separates calls, is left out. */
export function readToolCalls(form: ToolCallForm): ToolCallReader {
  let held = "";
  let blank = "";
  let hasText = false;
  let hasCalls = false;
  let parts: AnswerPart[] = [];

  const say = (text: string): void => {
    blank += text;
    if (!hasText && skipBetween(form, blank) === blank.length) return;
    if (blank !== "") parts.push({ text: blank });
    blank = "";
    hasText = true;
  };
  const call = ({ calls, length }: Exclude<ToolCallRead, string>): void => {
    for (const one of calls) parts.push({ call: one });
    held = held.slice(length);
    blank = "";
    hasText = false;
    hasCalls = true;
  };

  /** One step; false where more text is needed. */
  const step = (isWhole: boolean): boolean => {
    if (held === "") return false;
    const opening = openingOf(form, held, !hasText);
    const before = opening?.at ?? held.length - (isWhole ? 0 : partialLength(held, form.openings));
    say(held.slice(0, before));
    held = held.slice(before);
    if (opening === null) return false;
    const read = form.read(held.slice(opening.length), isWhole);
    if (read === "incomplete" && !isWhole) return false;
    if (typeof read === "object") call({ calls: read.calls, length: opening.length + read.length });
    else {
      const shown = Math.max(opening.length, 1);
      say(held.slice(0, shown));
      held = held.slice(shown);
    }
    return true;
  };

  const run = (isWhole: boolean): AnswerPart[] => {
    while (step(isWhole));
    const ready = joined(parts);
    parts = [];
    return ready;
  };

  return {
    push: (text) => {
      held += text;
      return run(false);
    },
    flush: () => {
      const rest = run(true);
      return blank === "" || hasCalls ? rest : joined([...rest, { text: blank }]);
    },
  };
}

/** A whole answer: its text, and its calls in their order. */
export function parseToolCalls(
  form: ToolCallForm,
  answer: string,
): { readonly text: string; readonly calls: readonly ToolCall[] } {
  const reader = readToolCalls(form);
  const parts = [...reader.push(answer), ...reader.flush()];
  return {
    text: parts.map((part) => ("text" in part ? part.text : "")).join(""),
    calls: parts.flatMap((part) => ("call" in part ? [part.call] : [])),
  };
}

/** Where the first opening stands, and its length: 0 for a call without one. */
function openingOf(
  form: ToolCallForm,
  text: string,
  isStart: boolean,
): { readonly at: number; readonly length: number } | null {
  const start = skipBetween(form, text);
  if (isStart && form.bareOpening !== "" && text.startsWith(form.bareOpening, start))
    return { at: start, length: 0 };
  const found = form.openings
    .map((opening) => ({ at: text.indexOf(opening), length: opening.length }))
    .filter(({ at }) => at >= 0)
    .sort((a, b) => a.at - b.at);
  return found[0] ?? null;
}

/** Index of the first character that is neither white space nor separates calls. */
function skipBetween({ separator }: ToolCallForm, text: string): number {
  let at = skipSpace(text, 0);
  while (separator !== "" && text.startsWith(separator, at)) at = skipSpace(text, at + separator.length);
  return at;
}

function joined(parts: readonly AnswerPart[]): AnswerPart[] {
  const out: AnswerPart[] = [];
  for (const part of parts) {
    const last = out.at(-1);
    if (last && "text" in last && "text" in part) out[out.length - 1] = { text: last.text + part.text };
    else out.push(part);
  }
  return out;
}
