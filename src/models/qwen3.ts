import { reshape, rmsNorm } from "../graph/ops/index.ts";
import { type Dim, known, type Value } from "../graph/value.ts";
import type { Family, ModuleSpec } from "./family.ts";
import { vocabularyLogits } from "./layers.ts";
import { gatedMlp, type HeadNorm, llamaForward, llamaLayer, llamaModules, rotaryAttention } from "./llama.ts";

/** A norm over each head of a query or key; `gammaOf` makes its scale [headDim] of the weight. */
export function headNorm(gammaOf: (weight: Value) => Value): HeadNorm {
  return (c, ctx, path, x) => {
    const [rows, length, width] = x.shape as [Dim, Dim, Dim];
    const heads = reshape(x, [rows, length, known(width, path) / c.headDim, c.headDim]);
    const gamma = gammaOf(ctx.weight(`${path}.weight`));
    return reshape(rmsNorm(heads, gamma, c.normEpsilon), [rows, length, width]);
  };
}

/** The weights of `headNorm` for a layer `layers.0`. */
export function headNormModules(layer: string, headDim: number): ModuleSpec[] {
  return ["q_norm", "k_norm"].map((name) => ({
    kind: "norm",
    path: `${layer}.attention.${name}`,
    size: headDim,
    bias: false,
  }));
}

const BLOCKS = { attention: rotaryAttention(headNorm((weight) => weight)), mlp: gatedMlp };

/** Qwen3: llama with a norm on every query and key head. */
export const qwen3: Family = {
  name: "qwen3",
  modules: (c) =>
    llamaModules(c, (_, layer) => [...llamaLayer(c, layer), ...headNormModules(layer, c.headDim)]),
  forward: (c, ctx, tokens, tableLength) => llamaForward(c, ctx, tokens, tableLength, BLOCKS),
  logits: vocabularyLogits,
};
