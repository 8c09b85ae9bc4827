import { reshape, rmsNorm } from "../graph/ops/index.ts";
import { type Dim, known } from "../graph/value.ts";
import type { Family, ModuleSpec } from "./family.ts";
import { type HeadNorm, llamaForward, llamaModules } from "./llama.ts";

/** RMSNorm over each head of a query or key. */
const headNorm: HeadNorm = (c, ctx, path, x) => {
  const [rows, length, width] = x.shape as [Dim, Dim, Dim];
  const heads = reshape(x, [rows, length, known(width, path) / c.headDim, c.headDim]);
  return reshape(rmsNorm(heads, ctx.weight(`${path}.weight`), c.normEpsilon), [rows, length, width]);
};

/** Qwen3: llama with a norm on every query and key head. */
export const qwen3: Family = {
  name: "qwen3",
  modules: (c) => [
    ...llamaModules(c),
    ...Array.from({ length: c.layerCount }, (_, i): ModuleSpec[] => [
      { kind: "norm", path: `layers.${i}.attention.q_norm`, size: c.headDim, bias: false },
      { kind: "norm", path: `layers.${i}.attention.k_norm`, size: c.headDim, bias: false },
    ]).flat(),
  ],
  forward: (c, ctx, tokens, tableLength) => llamaForward(c, ctx, tokens, tableLength, headNorm),
};
