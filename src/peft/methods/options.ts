import type { LoraConfig } from "../../formats/peft/config.ts";

/** Options of all methods, as training states them; each method reads its own. */
export interface MethodOptions {
  /** LoRA and its relatives; the choice of layers is that of every method that has one. */
  readonly lora: LoraConfig;
  /** The last n layers instead of `lora.layersToTransform`; null where they are not counted from the end. */
  readonly lastLayers: number | null;
  /** LoRA+: learning rate of B over that of A. */
  readonly loraPlusRatio: number;
  /** VeRA: first value of d. */
  readonly veraInitial: number;
  readonly adaLora: AdaLoraOptions;
  readonly bottleneck: BottleneckOptions;
  /** IA3: modules whose input is scaled, by name; null for the MLP's last layer. */
  readonly feedforwardModules: readonly string[] | null;
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

/** Options of the bottleneck adapters. */
export interface BottleneckOptions {
  /** r, the width between the projections. */
  readonly size: number;
  /** Layers at the bottom without adapters (AdapterDrop, Rücklé et al. 2020). */
  readonly drop: number;
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
