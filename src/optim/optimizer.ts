import type { Value } from "../graph/value.ts";
import type { Setting, SettingsOf } from "../options/setting.ts";

/** Parameters θ [N] and what an optimizer keeps beside them, [N] each. */
export interface OptimizerState {
  readonly theta: Value;
  readonly vectors: Readonly<Record<string, Value>>;
}

/** An optimizer with its constants, as update graphs and checkpoints know it. */
export interface Optimizer {
  /** Vectors that it keeps beside θ, zero at the start, by the names that they have in checkpoints. */
  readonly vectors: readonly string[];
  /** Numbers that change with the update, which counts from 1; the learning rate comes by itself. */
  scalars(update: number): Readonly<Record<string, number>>;
  /** One update. The learning rate is [], or [N] where elements differ; scalars are []. */
  apply(
    state: OptimizerState,
    gradient: Value,
    learningRate: Value,
    scalars: Readonly<Record<string, Value>>,
  ): OptimizerState;
}

/** A kind of optimizer, for the table. */
export interface OptimizerKind {
  readonly name: string;
  readonly settings: Readonly<Record<string, Setting<unknown>>>;
  /** `options` holds its own, checked, among others. */
  create(options: object): Optimizer;
}

/** A kind of optimizer from what its file says. */
export function optimizerKind<O extends object>(kind: {
  readonly name: string;
  readonly settings: SettingsOf<O>;
  create(options: O): Optimizer;
}): OptimizerKind {
  return { ...kind, create: (options) => kind.create(options as O) };
}
