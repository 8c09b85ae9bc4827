import { z } from "zod";
import type { LoraConfig } from "../../formats/peft/config.ts";
import { type SettingsOf, setting } from "../../options/setting.ts";
import { names, positive, share, text, width } from "../../options/values.ts";
import type { TrainingUse } from "../method-kind.ts";
import type { ModelShape } from "../model-shape.ts";
import { ADAPTER, type TargetOptions, targetConfig, targetSettings } from "./target-options.ts";

/** Options of LoRA. */
export interface LoraOptions extends TargetOptions {
  readonly rank: number;
  /** The update is scaled by alpha/rank, or alpha/√rank with rsLoRA. */
  readonly alpha: number;
  /** Probability in [0, 1). */
  readonly dropout: number;
  /** Biases of the base that are trained as well. */
  readonly bias: "none" | "all" | "lora_only";
  /** Ranks that differ: module → rank. */
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
  readonly rsLora: boolean;
  /** B has a bias of its own. */
  readonly loraBias: boolean;
  /** Modules trained whole and saved with the adapter. */
  readonly modulesToSave: readonly string[];
  /** First values of A. */
  readonly init: "gaussian" | "kaiming-uniform";
}

export const loraSettings: SettingsOf<LoraOptions> = {
  rank: setting(width, 16, {
    group: ADAPTER,
    value: "n",
    description: "rank of the update",
    knownAs: ["r", "loraR", "loraRank"],
  }),
  alpha: setting(positive, 32, {
    group: ADAPTER,
    value: "x",
    description: "the update is scaled by alpha / rank",
    knownAs: ["loraAlpha"],
  }),
  dropout: setting(share, 0, {
    group: ADAPTER,
    value: "share",
    description: "dropout on the input of the update",
    knownAs: ["loraDropout"],
  }),
  bias: setting(z.enum(["none", "all", "lora_only"]), "none", {
    group: ADAPTER,
    description: "biases to train as well",
  }),
  ...targetSettings,
  rankPattern: setting(
    z.record(text, width),
    {},
    {
      group: ADAPTER,
      value: "module=n,…",
      description: "another rank for modules that match",
      expects: "module=rank pairs, ranks ≥ 1",
    },
  ),
  alphaPattern: setting(
    z.record(text, positive),
    {},
    {
      group: ADAPTER,
      value: "module=x,…",
      description: "another alpha for modules that match",
      expects: "module=alpha pairs, alphas > 0",
    },
  ),
  rsLora: setting(z.boolean(), false, {
    group: ADAPTER,
    description: "scale by alpha / √rank",
    knownAs: ["useRslora"],
  }),
  loraBias: setting(z.boolean(), false, {
    group: ADAPTER,
    description: "give B a bias of its own",
  }),
  modulesToSave: setting(names, [], {
    group: ADAPTER,
    value: "modules",
    description: "modules to train in full and save with the adapter",
    expects: "a list of module names",
  }),
  init: setting(z.enum(["gaussian", "kaiming-uniform"]), "gaussian", {
    group: ADAPTER,
    description: "first values of A (B starts at 0): the paper's, or PEFT's",
    knownAs: ["initLoraWeights"],
  }),
};

/** LoRA's configuration for a model. */
export function loraConfig(options: LoraOptions, shape: ModelShape, use: TrainingUse): LoraConfig {
  const { rank, alpha, dropout, bias, rankPattern, alphaPattern } = options;
  const { rsLora, loraBias, modulesToSave, init } = options;
  return targetConfig(options, shape, use, {
    ...{ rank, alpha, dropout, bias, rankPattern, alphaPattern },
    ...{ rsLora, loraBias, modulesToSave, init },
  });
}
