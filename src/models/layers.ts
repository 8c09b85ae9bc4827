import type { ModelConfig, RopeConfig } from "../formats/model-source.ts";
import { gelu, geluTanh, type RotaryTables, relu, rotaryConstants, silu } from "../graph/ops/index.ts";
import type { Value } from "../graph/value.ts";
import type { ModuleSpec } from "./family.ts";

/** A linear module. */
export function linearModule(path: string, inSize: number, outSize: number, bias: boolean): ModuleSpec {
  return { kind: "linear", path, inSize, outSize, bias };
}

/** The output layer, sharing the embedding's weight where the model is tied. */
export function headModule(config: ModelConfig): ModuleSpec {
  return {
    kind: "linear",
    path: "head",
    inSize: config.hiddenSize,
    outSize: config.vocabSize,
    bias: false,
    isOutput: true,
    ...(config.tiedEmbeddings ? { tiedTo: "embed" } : {}),
  };
}

const ACTIVATIONS: Readonly<Record<ModelConfig["activation"], (x: Value) => Value>> = {
  silu,
  gelu,
  "gelu-tanh": geluTanh,
  relu,
};

/** The activation function of a config. */
export function activation(config: ModelConfig): (x: Value) => Value {
  return ACTIVATIONS[config.activation];
}

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

/** cos and sin tables of a graph for the first `positionCount` positions. */
export function rotaryTables(rope: RopeConfig, headDim: number, positionCount: number): RotaryTables {
  const frequencies = rotaryFrequencies(rope, headDim);
  const halfDim = headDim / 2;
  const cos = new Float32Array(positionCount * halfDim);
  const sin = new Float32Array(positionCount * halfDim);
  for (let p = 0; p < positionCount; p++)
    for (let i = 0; i < halfDim; i++) {
      const angle = p * (frequencies[i] as number);
      cos[p * halfDim + i] = Math.cos(angle);
      sin[p * halfDim + i] = Math.sin(angle);
    }
  return rotaryConstants(cos, sin, halfDim);
}
