/** Takes generated text from its start, and gives it back without a text that may stand in front. */
export interface LeadIn {
  /** Text that is safe to show: nothing while it may still be the lead-in. */
  push(text: string): string;
  /** What was held back, when generation ends. */
  flush(): string;
  /** Pushes that are no part of the answer: those so far, as long as the text may be the lead-in, and those that it took. */
  readonly skipped: number;
}

/** Leaves `lead` out of what a generated text begins with. A text that begins otherwise comes back whole. */
export function createLeadIn(lead: string): LeadIn {
  let held = "";
  let isOver = lead === "";
  let skipped = 0;
  const over = (text: string, count: number): string => {
    isOver = true;
    skipped = count;
    held = "";
    return text;
  };
  return {
    get skipped() {
      return skipped;
    },
    push(text) {
      if (isOver) return text;
      held += text;
      // The push that completes it holds the beginning of the answer, or only its own end.
      if (held.startsWith(lead)) return over(held.slice(lead.length), held === lead ? skipped + 1 : skipped);
      if (!lead.startsWith(held)) return over(held, 0);
      skipped++;
      return "";
    },
    flush: () => (isOver ? "" : over(held, 0)),
  };
}

/** A whole generated text without its lead-in. */
export function withoutLeadIn(text: string, lead: string): string {
  return text.startsWith(lead) ? text.slice(lead.length) : text;
}
