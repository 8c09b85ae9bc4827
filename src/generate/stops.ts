import { InputError } from "../errors.ts";
import { partialLength } from "../text/partial.ts";

/** What ends a generation, beside its length. */
export interface StopOptions {
  /** Ids that end it; they are not part of the text. */
  readonly ids?: readonly number[];
  /** Texts that end it; neither they nor what follows is part of the text. */
  readonly strings?: readonly string[];
}

/** Watches one generated text. */
export interface StopWatch {
  /** The id ends generation. */
  isStopId(id: number): boolean;
  /** Takes new text, gives back what is safe to print: an end that may be the start of a stop string is held back.
   *  After `stopped` is set, nothing more comes out. */
  push(text: string): string;
  /** The text held back, when generation ends for another reason. */
  flush(): string;
  /** Stop string found, or null. */
  readonly stopped: string | null;
}

/** Stop watch for one generation. The stop string that is complete first wins (the longer one if two end together),
 *  so the result does not depend on how the text is cut into pieces.
 *  @throws InputError if a stop string is empty. */
export function createStopWatch({ ids = [], strings = [] }: StopOptions = {}): StopWatch {
  const empty = strings.flatMap((s, i) =>
    s === "" ? [{ where: `stop string ${i + 1}`, message: "is empty: it would end every text at once" }] : [],
  );
  if (empty.length > 0) throw new InputError("Stop strings are wrong:", empty);
  const stopIds = new Set(ids);
  let held = "";
  let stopped: string | null = null;
  return {
    isStopId: (id) => stopIds.has(id),
    get stopped() {
      return stopped;
    },
    push(text) {
      if (stopped !== null) return "";
      held += text;
      const match = firstComplete(held, strings);
      stopped = match?.string ?? null;
      const until = match?.start ?? held.length - partialLength(held, strings);
      const out = held.slice(0, until);
      held = match ? "" : held.slice(until);
      return out;
    },
    flush() {
      const out = held;
      held = "";
      return out;
    },
  };
}

function firstComplete(
  text: string,
  strings: readonly string[],
): { readonly string: string; readonly start: number } | null {
  let best: { readonly string: string; readonly start: number } | null = null;
  let bestEnd = Infinity;
  for (const string of strings) {
    const start = text.indexOf(string);
    const end = start + string.length;
    if (start < 0 || end > bestEnd || (end === bestEnd && best !== null && start >= best.start)) continue;
    best = { string, start };
    bestEnd = end;
  }
  return best;
}
