import { InputError, type Problem } from "../errors.ts";

/** Collects what is wrong with the user's data, so that all of it is reported at once. */
export interface ProblemList {
  /** Notes one problem; only the first ten are kept, all are counted. */
  add(where: string, message: string): void;
  readonly count: number;
  readonly first: readonly Problem[];
  /** @throws InputError with the first ten problems and the count, if there are any. */
  throwIfAny(title: string): void;
}

/** Ends the reading of a file that has too many faults. */
export class GivenUp extends Error {}

const KEPT = 10;

/** An empty problem list. */
export function problemList(): ProblemList {
  const first: Problem[] = [];
  let count = 0;
  return {
    first,
    get count() {
      return count;
    },
    add(where, message) {
      count++;
      if (first.length < KEPT) first.push({ where, message });
    },
    throwIfAny(title) {
      if (count > 0) throw new InputError(`${title} (${count} problem${count > 1 ? "s" : ""})`, first, count);
    },
  };
}
