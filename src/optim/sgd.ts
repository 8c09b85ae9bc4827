import { add, mul, scale, sub } from "../graph/ops/index.ts";
import { type SettingsOf, setting } from "../options/setting.ts";
import { share } from "../options/values.ts";
import { type Optimizer, type OptimizerKind, optimizerKind } from "./optimizer.ts";
import { OPTIMIZER, type WeightDecay, weightDecaySettings } from "./schedule.ts";

/** Constants of gradient descent. */
export interface SgdOptions extends WeightDecay {
  /** Share of the step before that a step goes on with; 0 keeps no vector. */
  readonly momentum: number;
}

const sgdSettings: SettingsOf<SgdOptions> = {
  ...weightDecaySettings,
  momentum: setting(share, 0, {
    group: OPTIMIZER,
    value: "share",
    description: "sgd: share of the step before that a step goes on with",
    knownAs: ["sgdMomentum"],
  }),
};

/** Gradient descent with momentum, as torch.optim.SGD computes it: b ← μ·b + (g + λ·θ), θ ← θ − η·b. Weight decay is part of the
 *  gradient here. */
export function sgd({ momentum, weightDecay }: SgdOptions): Optimizer {
  return {
    vectors: momentum === 0 ? [] : ["momentum"],
    scalars: () => ({}),
    apply: ({ theta, vectors }, gradient, learningRate) => {
      const slope = weightDecay === 0 ? gradient : add(gradient, scale(theta, weightDecay));
      const { momentum: before } = vectors;
      const step = before ? add(scale(before, momentum), slope) : slope;
      return { theta: sub(theta, mul(learningRate, step)), vectors: before ? { momentum: step } : {} };
    },
  };
}

/** Gradient descent as an optimizer of the table. */
export const sgdKind: OptimizerKind = optimizerKind({ name: "sgd", settings: sgdSettings, create: sgd });
