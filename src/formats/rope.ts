import type { RopeConfig } from "./model.ts";

/** Inverse frequency of each rotary pair. Llama 3.1 stretches long wavelengths by `factor`, keeps short ones, and blends
 *  between (transformers, `_compute_llama3_parameters`). */
export function rotaryFrequencies(rope: RopeConfig, headDim: number): Float64Array {
  const { scaling } = rope;
  return Float64Array.from({ length: headDim / 2 }, (_, i) => {
    const frequency = rope.theta ** (-(2 * i) / headDim);
    if (scaling.kind === "none") return frequency;
    if (scaling.kind === "linear") return frequency / scaling.factor;
    const turns = (scaling.originalMaxPositions * frequency) / (2 * Math.PI);
    if (turns < scaling.lowFreqFactor) return frequency / scaling.factor;
    if (turns > scaling.highFreqFactor) return frequency;
    const blend = (turns - scaling.lowFreqFactor) / (scaling.highFreqFactor - scaling.lowFreqFactor);
    return ((1 - blend) * frequency) / scaling.factor + blend * frequency;
  });
}
