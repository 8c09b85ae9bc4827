import { UnsupportedError } from "../errors.ts";
import { type FloatTensor, floats } from "../tensor/tensor.ts";
import type { LoraFactors } from "./lora-factors.ts";
import type { ModelConfig } from "./model.ts";

/** B times a factor: formats with one scale for all modules take what differs into B. The tensor itself where it is 1. */
export function scaledB(b: FloatTensor, factor: number): FloatTensor {
  return factor === 1
    ? b
    : floats(
        b.data.map((x) => x * factor),
        b.shape,
      );
}

/** PEFT's LoRA on the embedding of a model with a tied output layer leaves the output layer alone; other programs apply it to
 *  both, and have no output layer of its own to adapt. @throws UnsupportedError for such factors. */
export function requireUntied(factors: readonly LoraFactors[], model: ModelConfig, program: string): void {
  const paths = factors.map((f) => f.path).filter((path) => path === "embed" || path === "head");
  if (!model.tiedEmbeddings || paths.length === 0) return;
  throw new UnsupportedError(
    `LoRA on ${paths.join(" and ")} cannot be converted for ${program}: this model's output layer is tied to its embedding, ` +
      "and there both would change. Merge the adapter into the model instead.",
  );
}
