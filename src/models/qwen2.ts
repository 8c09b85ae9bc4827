import type { Family } from "./family.ts";
import { vocabularyLogits } from "./layers.ts";
import { llamaForward, llamaModules } from "./llama.ts";

/** Qwen2 and 2.5: llama with biases on q, k and v, which the config says. */
export const qwen2: Family = {
  name: "qwen2",
  modules: llamaModules,
  forward: llamaForward,
  logits: vocabularyLogits,
};
