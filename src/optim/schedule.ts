import { z } from "zod";
import { type SettingsOf, setting } from "../options/setting.ts";
import { positive, share } from "../options/values.ts";

/** Heading of the optimizer's options in help texts. */
export const OPTIMIZER = "Optimizer";

/** Weight decay, which every optimizer has. */
export interface WeightDecay {
  readonly weightDecay: number;
}

export const weightDecaySettings: SettingsOf<WeightDecay> = {
  weightDecay: setting(z.number().min(0), 0, {
    group: OPTIMIZER,
    value: "x",
    description: "weight decay (adamw: decoupled from the gradient)",
  }),
};

/** Shapes of the learning rate over a run. */
export type ScheduleName = "constant" | "linear" | "cosine";

/** The learning rate over a run, as a caller states it. */
export interface LearningRateOptions {
  /** Of the updates after the warm-up, the largest. */
  readonly learningRate: number;
  readonly schedule: ScheduleName;
  /** null where `warmupRatio` says it. */
  readonly warmupSteps: number | null;
  /** The same as a share of all steps. */
  readonly warmupRatio: number | null;
}

export const learningRateSettings: SettingsOf<LearningRateOptions> = {
  learningRate: setting(positive, 2e-4, {
    group: OPTIMIZER,
    value: "x",
    description: "peak learning rate",
    knownAs: ["lr"],
  }),
  schedule: setting(z.enum(["constant", "linear", "cosine"]), "linear", {
    group: OPTIMIZER,
    description: "learning rate after the warm-up",
    knownAs: ["lrScheduler", "lrSchedulerType", "scheduler", "lrSchedule"],
  }),
  warmupSteps: setting(z.number().int().min(0).nullable(), 10, {
    group: OPTIMIZER,
    value: "n",
    description: "steps over which the learning rate rises",
    knownAs: ["warmup"],
  }),
  warmupRatio: setting(share.nullable(), null, {
    group: OPTIMIZER,
    value: "share",
    description: "the same as a share of all steps, instead",
  }),
};

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
