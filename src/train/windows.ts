import { batchOrder } from "../data/batches.ts";

/** How a run walks through its data. */
export interface WindowOptions {
  readonly examples: number;
  readonly batchSize: number;
  /** Micro-batches per update. */
  readonly accumulation: number;
  readonly epochs: number;
  readonly maxSteps: number | null;
  readonly seed: number;
}

/** Updates per pass over the data; the last window of a pass may be smaller, and none crosses into the next. */
export function stepsPerEpoch(options: WindowOptions): number {
  return Math.ceil(Math.ceil(options.examples / options.batchSize) / options.accumulation);
}

/** Updates of the whole run. */
export function totalSteps(options: WindowOptions): number {
  return options.maxSteps ?? Math.max(1, Math.ceil(options.epochs * stepsPerEpoch(options)));
}

/** Example indices of each micro-batch of an update (`step` counts from 1). Follows from the options alone. */
export function windowAt(options: WindowOptions, step: number): Int32Array[] {
  const perEpoch = stepsPerEpoch(options);
  const epoch = Math.floor((step - 1) / perEpoch);
  const batches = batchOrder({
    count: options.examples,
    batchSize: options.batchSize,
    seed: options.seed,
    epoch,
  });
  const first = ((step - 1) % perEpoch) * options.accumulation;
  return batches.slice(first, first + options.accumulation);
}
