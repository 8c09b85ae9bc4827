/** What went wrong while a template was parsed or rendered; `parseTemplate` and `render` make a FormatError of it. */
export class TemplateFault extends Error {
  /** Line of the template, where the message needs one. */
  line: number | null;
  constructor(message: string, line: number | null = null) {
    super(message);
    this.line = line;
  }
}

export function fail(message: string): never {
  throw new TemplateFault(message);
}

/** Deepest nesting of expressions and statements, and of data: a recursive walk over either stays far from the end of
 *  the stack. */
export const MAX_DEPTH = 200;
/** Deepest sum of nested nodes over all calls of macros in progress. */
export const MAX_CALL_DEPTH = 1200;

/** Steps that writing out a value takes: it becomes several pieces of text. */
export const WRITTEN = 10;

/** What one rendering may use and has used. A step is a node evaluated, a pass of a loop, an item of a list made or
 *  searched, or 64 characters read. Characters count where new text is made, not where text is cut or joined, which
 *  costs nothing; a single string, and the output, may not be longer than the same number. */
export interface Limits {
  readonly maxSteps: number;
  readonly maxLength: number;
  steps: number;
  length: number;
}

export function tick(limits: Limits, steps: number): void {
  limits.steps += steps;
  if (limits.steps > limits.maxSteps) fail(`more than ${limits.maxSteps} steps`);
}

/** Counts text that is read. */
export function tickText(limits: Limits, length: number): void {
  tick(limits, 1 + length / 64);
}

/** Refuses a string that would be too long, before it is made. */
export function checkLength(limits: Limits, length: number): void {
  if (length > limits.maxLength) fail(`more than ${limits.maxLength} characters`);
}

/** Counts text that is made. */
export function produce(limits: Limits, length: number): void {
  tickText(limits, length);
  limits.length += length;
  checkLength(limits, limits.length);
}
