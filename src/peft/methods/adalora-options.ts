import { z } from "zod";
import { type SettingsOf, setting } from "../../options/setting.ts";
import { count, width } from "../../options/values.ts";
import { type LoraOptions, loraSettings } from "./lora-options.ts";
import { ADAPTER, type TargetOptions, targetSettings } from "./target-options.ts";

/** Options of AdaLoRA; the rank is the one it starts with. */
export interface AdaLoraOptions extends TargetOptions, Pick<LoraOptions, "rank" | "alpha" | "dropout"> {
  /** Average rank to end with; null: half of the first. */
  readonly targetRank: number | null;
  /** Steps before ranks fall; null: a tenth of all. */
  readonly rankWarmupSteps: number | null;
  /** Steps at the end with the ranks that are left; null: a fifth of all. */
  readonly rankFinalSteps: number | null;
  /** Steps from one choice of ranks to the next. */
  readonly rankInterval: number;
  /** Weight of the penalty that keeps the triplets' vectors orthonormal. */
  readonly orthogonality: number;
}

export const adaLoraSettings: SettingsOf<AdaLoraOptions> = {
  ...targetSettings,
  rank: loraSettings.rank,
  alpha: loraSettings.alpha,
  dropout: loraSettings.dropout,
  targetRank: setting(width.nullable(), null, {
    group: ADAPTER,
    value: "n",
    description: "adalora: average rank to end with",
    defaultText: "half of the rank",
    knownAs: ["targetR"],
  }),
  rankWarmupSteps: setting(z.number().int().min(0).nullable(), null, {
    group: ADAPTER,
    value: "n",
    description: "adalora: steps before ranks fall",
    defaultText: "a tenth of all",
    knownAs: ["tinit"],
  }),
  rankFinalSteps: setting(z.number().int().min(0).nullable(), null, {
    group: ADAPTER,
    value: "n",
    description: "adalora: steps at the end with the ranks that are left",
    defaultText: "a fifth of all",
    knownAs: ["tfinal"],
  }),
  rankInterval: setting(count, 1, {
    group: ADAPTER,
    value: "n",
    description: "adalora: steps from one choice of ranks to the next",
    knownAs: ["deltaT"],
  }),
  orthogonality: setting(z.number().min(0), 0.5, {
    group: ADAPTER,
    value: "x",
    description: "adalora: weight of the penalty that keeps vectors orthonormal",
    knownAs: ["orthRegWeight"],
  }),
};
