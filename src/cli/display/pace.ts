/** When a line is due where nothing can be redrawn. */
export interface Pace {
  /** Whether to write now: at the first and the last, and between them once both the interval and the share of the
   *  whole have passed. */
  isDue(share: number, isFirst: boolean, isLast: boolean): boolean;
}

/** One line per ten seconds or per tenth of the work, whichever is rarer. */
export function pace(now: () => number = Date.now, intervalMs = 10_000, shareStep = 0.1): Pace {
  let last = { timeMs: Number.NEGATIVE_INFINITY, share: Number.NEGATIVE_INFINITY };
  return {
    isDue: (share, isFirst, isLast) => {
      // a hair below the step: 0.3 − 0.2 is less than 0.1 in binary
      const isTime = now() - last.timeMs >= intervalMs && share - last.share >= shareStep - 1e-9;
      if (!isFirst && !isLast && !isTime) return false;
      last = { timeMs: now(), share };
      return true;
    },
  };
}
