/** Shapes of the learning rate over a run. */
export type ScheduleName = "constant" | "linear" | "cosine";

/** What a schedule needs to know. */
export interface ScheduleOptions {
  readonly schedule: ScheduleName;
  readonly learningRate: number;
  readonly warmupSteps: number;
  /** Updates of the whole run. */
  readonly steps: number;
}

const DECAYS: Readonly<Record<ScheduleName, (progress: number) => number>> = {
  constant: () => 1,
  linear: (p) => 1 - p,
  cosine: (p) => 0.5 * (1 + Math.cos(Math.PI * p)),
};

/** Learning rate of the update after `done` updates (0 for the first), as transformers' schedulers count:
 *  linear warm-up from 0 (so the first update of a warm-up has rate 0), then the decay to 0 at `steps`. */
export function learningRateAt(done: number, options: ScheduleOptions): number {
  const { schedule, learningRate, warmupSteps, steps } = options;
  if (done < warmupSteps) return (learningRate * done) / Math.max(1, warmupSteps);
  const progress = Math.min(1, (done - warmupSteps) / Math.max(1, steps - warmupSteps));
  return learningRate * Math.max(0, DECAYS[schedule](progress));
}
