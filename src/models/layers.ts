import type { ModelConfig, RopeConfig } from "../formats/model-source.ts";
import { rotaryFrequencies } from "../formats/rope.ts";
import { gelu, geluTanh, type RotaryTables, relu, rotaryConstants, silu } from "../graph/ops/index.ts";
import type { Value } from "../graph/value.ts";
import type { ForwardContext } from "./context.ts";
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

/** Logits over the vocabulary, of a decoder. */
export function vocabularyLogits(ctx: ForwardContext, hidden: Value): Value {
  return ctx.linear("head", hidden);
}

/** A linear module of a head that checkpoints may lack. */
export function headLinear(path: string, inSize: number, outSize: number): ModuleSpec & { kind: "linear" } {
  return { kind: "linear", path, inSize, outSize, bias: true, mayBeNew: true };
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
