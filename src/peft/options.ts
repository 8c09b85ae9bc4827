import type { LoraConfig } from "../formats/peft-config.ts";

/** Options of all methods, as training states them; each method reads its own. */
export interface MethodOptions {
  /** LoRA and its relatives. */
  readonly lora: LoraConfig;
  /** LoRA+: learning rate of B over that of A. */
  readonly loraPlusRatio: number;
  /** VeRA: first value of d. */
  readonly veraInitial: number;
  readonly adaLora: AdaLoraOptions;
  /** Prefix methods. */
  readonly prefix: PrefixOptions;
}

/** Options of AdaLoRA; LoRA's rank is the one it starts with. */
export interface AdaLoraOptions {
  /** Average rank to end with; null: half of the first. */
  readonly targetRank: number | null;
  /** Steps before ranks fall; null: a tenth of all. */
  readonly warmupSteps: number | null;
  /** Steps at the end with the ranks that are left; null: a fifth of all. */
  readonly finalSteps: number | null;
  /** Steps from one choice of ranks to the next. */
  readonly interval: number;
  /** Weight of the penalty that keeps the triplets' vectors orthonormal. */
  readonly orthogonality: number;
}

/** Options of prefix-embedding, prefix-layer and prefix-tuning. */
export interface PrefixOptions {
  /** Virtual tokens in front of the prompt; of prefix tuning, key-value pairs. */
  readonly prefixLength: number;
  /** Virtual tokens between prompt and completion; prefix tuning has none. */
  readonly infixLength: number;
  /** Text whose embeddings the virtual tokens start as; null: random. */
  readonly text: string | null;
  /** Hidden size of the perceptron that makes prefix tuning's prefix in training; null for none. */
  readonly projection: number | null;
}
