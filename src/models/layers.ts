import type { ModelConfig, RopeConfig } from "../formats/model.ts";
import { rotaryFrequencies } from "../formats/rope.ts";
import {
  add,
  gelu,
  geluTanh,
  mul,
  type RotaryTables,
  relu,
  rotaryConstants,
  silu,
  split,
} from "../graph/ops/index.ts";
import { known, type Value } from "../graph/value.ts";
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

/** `ctx.linear` of modules with one input, as one product where the context has it so. */
export function linears(ctx: ForwardContext, paths: readonly string[], x: Value): readonly Value[] {
  const joined = ctx.joined(paths, x);
  if (!joined) return paths.map((path) => ctx.linear(path, x));
  const sizes = paths.map((path) => known(ctx.linearWeights(path).weight.shape[0], path));
  return split(joined, sizes, joined.shape.length - 1);
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

/** act(gate) ∘ up: [R, T, mlpSize] each → same. */
export function gated(config: ModelConfig, ctx: ForwardContext, gate: Value, up: Value): Value {
  const act = activation(config);
  return ctx.segment("core", [gate, up], (g, u) => mul(act(g as Value), u as Value));
}

/** MLP without a gate: down(act(up(x))), [R, T, d] → same. */
export function plainMlp(config: ModelConfig, ctx: ForwardContext, layer: string, x: Value): Value {
  const act = activation(config);
  const inner = ctx.segment("core", [ctx.linear(`${layer}.mlp.up`, x)], (up) => act(up as Value));
  return ctx.linear(`${layer}.mlp.down`, inner);
}

/** x + block(x), the block's output under its path: [R, T, d] → same. */
export function residual(ctx: ForwardContext, path: string, x: Value, block: (x: Value) => Value): Value {
  return ctx.segment("block", [x], (h) => add(h as Value, ctx.output(path, block(h as Value))));
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
