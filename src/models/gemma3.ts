import type { ModelConfig } from "../formats/model.ts";
import { add, rmsNorm, scale } from "../graph/ops/index.ts";
import { scalarConstant, type Value } from "../graph/value.ts";
import type { ForwardContext, TokenInputs } from "./context.ts";
import type { Family, ModuleSpec } from "./family.ts";
import { residual, rotaryTables, vocabularyLogits } from "./layers.ts";
import { gatedMlp, llamaLayer, llamaModules, rotaryAttention } from "./llama.ts";
import { headNorm, headNormModules } from "./qwen3.ts";

/** Checkpoints hold the norms' scales less 1. */
const gammaOf = (weight: Value): Value => add(weight, scalarConstant(1));

const attention = rotaryAttention(headNorm(gammaOf));

function layerModules(c: ModelConfig, layer: string): ModuleSpec[] {
  const norm = (name: string): ModuleSpec => ({
    kind: "norm",
    path: `${layer}.${name}`,
    size: c.hiddenSize,
    bias: false,
  });
  return [
    ...llamaLayer(c, layer),
    ...headNormModules(layer, c.headDim),
    norm("attention_post_norm"),
    norm("mlp_post_norm"),
  ];
}

/** Forward pass of Gemma 3 (Gemma Team 2025): norms before and after each block; most layers look back over a window, with a
 *  rotary embedding of their own. */
function forward(c: ModelConfig, ctx: ForwardContext, tokens: TokenInputs, tableLength: number): Value {
  const local = c.localLayers as NonNullable<typeof c.localLayers>;
  const tables = {
    local: rotaryTables(local.rope, c.headDim, tableLength),
    global: rotaryTables(c.rope as NonNullable<typeof c.rope>, c.headDim, tableLength),
  };
  const norm = (path: string, x: Value): Value =>
    rmsNorm(x, gammaOf(ctx.weight(`${path}.weight`)), c.normEpsilon);
  let x = ctx.output("embed", scale(ctx.embedding("embed", tokens.ids), c.embeddingScale ?? 1));
  for (let i = 0; i < c.layerCount; i++) {
    const layer = `layers.${i}`;
    const rope = local.indices.includes(i) ? tables.local : tables.global;
    x = residual(ctx, `${layer}.attention`, x, (h) => {
      const normed = norm(`${layer}.attention_norm`, h);
      const attended = attention(c, ctx, layer, normed, tokens.positions, rope);
      return norm(`${layer}.attention_post_norm`, attended);
    });
    x = residual(ctx, `${layer}.mlp`, x, (h) =>
      norm(`${layer}.mlp_post_norm`, gatedMlp(c, ctx, layer, norm(`${layer}.mlp_norm`, h))),
    );
    x = ctx.output(layer, x);
  }
  return norm("final_norm", x);
}

/** Gemma 3, text only. */
export const gemma3: Family = {
  name: "gemma3",
  modules: (c) => llamaModules(c, layerModules),
  forward,
  logits: vocabularyLogits,
};
