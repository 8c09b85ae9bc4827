import type { Example } from "../data/batch.ts";
import { epochBatches } from "../data/batches.ts";
import type { Indexed } from "../data/indexed.ts";

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

/** Example indices of each micro-batch of an update, by its step (counted from 1). They follow from the options alone and, where
 *  examples are `grouped` by how they begin, from these; an epoch is worked out once, as long as steps come in order. */
export function windowReader(
  options: WindowOptions,
  grouped: Indexed<Example> | null = null,
): (step: number) => Int32Array[] {
  const { examples: count, batchSize, accumulation, seed } = options;
  const perEpoch = stepsPerEpoch(options);
  const open = (epoch: number) => ({
    epoch,
    batchAt: epochBatches({ count, batchSize, seed, epoch }, grouped),
  });
  let current = open(0);
  return (step) => {
    const epoch = Math.floor((step - 1) / perEpoch);
    if (current.epoch !== epoch) current = open(epoch);
    const first = ((step - 1) % perEpoch) * accumulation;
    const batches = Array.from({ length: accumulation }, (_, i) => current.batchAt(first + i));
    return batches.filter((batch) => batch.length > 0);
  };
}
