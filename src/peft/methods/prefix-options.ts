import { z } from "zod";
import { type SettingsOf, setting } from "../../options/setting.ts";
import { count, MAX_WIDTH, text } from "../../options/values.ts";
import { ADAPTER } from "./target-options.ts";

/** What the prefix methods have in common. */
export interface PrefixOptions {
  /** Virtual tokens in front of the prompt; of prefix tuning, key-value pairs. */
  readonly prefixLength: number;
  /** Text whose embeddings the virtual tokens start as; null: random. */
  readonly prefixText: string | null;
}

/** Options of the methods whose virtual tokens are part of the sequence. */
export interface VirtualTokenOptions extends PrefixOptions {
  /** Virtual tokens between prompt and completion. */
  readonly infixLength: number;
}

/** Options of prefix tuning. */
export interface PrefixTuningOptions extends PrefixOptions {
  /** Hidden size of the perceptron that makes the prefix in training; null for none. */
  readonly prefixProjection: number | null;
}

const settings: SettingsOf<PrefixOptions> = {
  prefixLength: setting(z.number().int().min(0).max(MAX_WIDTH), 20, {
    group: ADAPTER,
    value: "n",
    description: "virtual tokens in front of the prompt (prefix methods)",
    knownAs: ["numVirtualTokens"],
  }),
  prefixText: setting(text.nullable(), null, {
    group: ADAPTER,
    value: "text",
    description: "text whose embeddings the virtual tokens start as",
    defaultText: "random",
    knownAs: ["promptTuningInitText"],
  }),
};

export const virtualTokenSettings: SettingsOf<VirtualTokenOptions> = {
  ...settings,
  infixLength: setting(z.number().int().min(0).max(MAX_WIDTH), 0, {
    group: ADAPTER,
    value: "n",
    description: "virtual tokens between prompt and completion (prefix-embedding, prefix-layer)",
  }),
};

export const prefixTuningSettings: SettingsOf<PrefixTuningOptions> = {
  ...settings,
  prefixProjection: setting(count.nullable(), null, {
    group: ADAPTER,
    value: "n",
    description: "hidden size of an MLP that makes prefix-tuning's prefix while it is trained",
    defaultText: "no MLP",
    knownAs: ["encoderHiddenSize"],
  }),
};
