import type { LoraConfig } from "../formats/peft-config.ts";

/** Options of all methods, as training states them; each method reads its own. */
export interface MethodOptions {
  /** LoRA and its relatives. */
  readonly lora: LoraConfig;
  /** LoRA+: learning rate of B over that of A. */
  readonly loraPlusRatio: number;
  /** VeRA: first value of d. */
  readonly veraInitial: number;
  /** Prefix methods. */
  readonly prefix: PrefixOptions;
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
