import { add, div, mul, scale, sqrt, square, sub } from "../graph/ops/index.ts";
import { scalarConstant, type Value } from "../graph/value.ts";
import { type SettingsOf, setting } from "../options/setting.ts";
import { positive, share } from "../options/values.ts";
import { type Optimizer, type OptimizerKind, optimizerKind } from "./optimizer.ts";
import { OPTIMIZER, type WeightDecay, weightDecaySettings } from "./schedule.ts";

/** AdamW's constants. */
export interface AdamWOptions extends WeightDecay {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
}

const adamwSettings: SettingsOf<AdamWOptions> = {
  ...weightDecaySettings,
  beta1: setting(share, 0.9, {
    group: OPTIMIZER,
    value: "x",
    description: "AdamW's decay of the mean",
    knownAs: ["adamBeta1"],
  }),
  beta2: setting(share, 0.999, {
    group: OPTIMIZER,
    value: "x",
    description: "AdamW's decay of the square",
    knownAs: ["adamBeta2"],
  }),
  epsilon: setting(positive, 1e-8, {
    group: OPTIMIZER,
    value: "x",
    description: "AdamW's ε",
    knownAs: ["adamEpsilon", "eps"],
  }),
};

/** Parameters and moments, all [N]. */
export interface AdamWState {
  readonly theta: Value;
  readonly m: Value;
  readonly v: Value;
}

/** Scalars that change with the step. */
export interface AdamWScalars {
  readonly learningRate: Value;
  /** 1 − β₁ᵗ. */
  readonly correction1: Value;
  /** 1 − β₂ᵗ. */
  readonly correction2: Value;
}

/** One AdamW update (Loshchilov & Hutter 2019, Algorithm 2, as torch.optim.AdamW computes it). `decay` [N]: 1 where weight
 *  decay applies, 0 elsewhere; null for everywhere. */
export function adamw(
  state: AdamWState,
  gradient: Value,
  scalars: AdamWScalars,
  options: AdamWOptions,
  decay: Value | null = null,
): AdamWState {
  const { beta1, beta2, epsilon, weightDecay } = options;
  const m = add(scale(state.m, beta1), scale(gradient, 1 - beta1));
  const v = add(scale(state.v, beta2), scale(square(gradient), 1 - beta2));
  const denominator = add(sqrt(div(v, scalars.correction2)), scalarConstant(epsilon));
  const step = div(div(m, scalars.correction1), denominator);
  const decayed = scale(decay ? mul(state.theta, decay) : state.theta, weightDecay);
  const change = weightDecay === 0 ? step : add(step, decayed);
  return { theta: sub(state.theta, mul(scalars.learningRate, change)), m, v };
}

/** AdamW with its constants. */
function adamwOptimizer(options: AdamWOptions): Optimizer {
  return {
    vectors: ["m", "v"],
    scalars: (update) => ({
      correction1: 1 - options.beta1 ** update,
      correction2: 1 - options.beta2 ** update,
    }),
    apply: ({ theta, vectors }, gradient, learningRate, { correction1, correction2 }) => {
      const state = { theta, m: vectors.m as Value, v: vectors.v as Value };
      const scalars = { learningRate, correction1: correction1 as Value, correction2: correction2 as Value };
      const { theta: next, m, v } = adamw(state, gradient, scalars, options);
      return { theta: next, vectors: { m, v } };
    },
  };
}

/** AdamW as an optimizer of the table. */
export const adamwKind: OptimizerKind = optimizerKind({
  name: "adamw",
  settings: adamwSettings,
  create: adamwOptimizer,
});
