import { TemplateError } from "./errors.ts";

/** What rendering may take. */
export interface Limits {
  /** Evaluated expressions, loop passes, and stretches of 64 characters that an operation makes. */
  readonly maxSteps: number;
  /** Characters of one text, items of one list. */
  readonly maxLength: number;
}

/** Counts what a rendering takes. */
export interface Budget {
  /** @throws TemplateError beyond the limit */
  step(count?: number): void;
  /** Notes a text or list of that length before or after it is made. @throws TemplateError beyond the limit */
  made(length: number): void;
  /** Checks a length that grew bit by bit. @throws TemplateError beyond the limit */
  fits(length: number): void;
}

/** A budget for one rendering. */
export function createBudget({ maxSteps, maxLength }: Limits): Budget {
  let steps = 0;
  const step = (count = 1): void => {
    steps += count;
    if (steps > maxSteps) throw new TemplateError(`takes more than ${maxSteps} steps`);
  };
  const fits = (length: number): void => {
    if (length > maxLength) throw new TemplateError(`makes a text or list longer than ${maxLength}`);
  };
  return {
    step,
    fits,
    made: (length) => {
      fits(length);
      step(length / 64);
    },
  };
}
