import type { LoraConfig } from "../formats/peft-config.ts";

/** Options of all methods, as training states them; each method reads its own. */
export interface MethodOptions {
  /** LoRA and its relatives. */
  readonly lora: LoraConfig;
  /** LoRA+: learning rate of B over that of A. */
  readonly loraPlusRatio: number;
}
