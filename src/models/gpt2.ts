import type { ModelConfig } from "../formats/model.ts";
import { add, layerNorm, split } from "../graph/ops/index.ts";
import type { Value } from "../graph/value.ts";
import type { ForwardContext } from "./context.ts";
import type { Family, ModuleSpec } from "./family.ts";
import { headModule, linearModule, plainMlp, residual, vocabularyLogits } from "./layers.ts";

function layerModules(c: ModelConfig, layer: string): ModuleSpec[] {
  const d = c.hiddenSize;
  return [
    { kind: "norm", path: `${layer}.attention_norm`, size: d, bias: true },
    linearModule(`${layer}.attention.qkv`, d, 3 * d, true),
    linearModule(`${layer}.attention.o`, d, d, true),
    { kind: "norm", path: `${layer}.mlp_norm`, size: d, bias: true },
    linearModule(`${layer}.mlp.up`, d, c.mlpSize, true),
    linearModule(`${layer}.mlp.down`, c.mlpSize, d, true),
  ];
}

function attentionBlock(c: ModelConfig, ctx: ForwardContext, layer: string, x: Value): Value {
  const d = c.hiddenSize;
  const [q, k, v] = split(ctx.linear(`${layer}.attention.qkv`, x), [d, d, d], 2) as [Value, Value, Value];
  return ctx.linear(`${layer}.attention.o`, ctx.attention(layer, q, k, v));
}

/** GPT-2 (Radford et al. 2019): learned positions, layer norms before each block, biases everywhere. */
export const gpt2: Family = {
  name: "gpt2",
  modules: (c) => [
    { kind: "embedding", path: "embed", count: c.vocabSize, size: c.hiddenSize },
    { kind: "embedding", path: "positions", count: c.maxPositions, size: c.hiddenSize },
    ...Array.from({ length: c.layerCount }, (_, i) => layerModules(c, `layers.${i}`)).flat(),
    { kind: "norm", path: "final_norm", size: c.hiddenSize, bias: true },
    headModule(c),
  ],
  forward: (c, ctx, tokens) => {
    const norm = (path: string, x: Value): Value =>
      layerNorm(x, ctx.weight(`${path}.weight`), ctx.weight(`${path}.bias`), c.normEpsilon);
    const embedded = ctx.output("embed", ctx.embedding("embed", tokens.ids));
    let x = add(embedded, ctx.embedding("positions", tokens.positions));
    for (let i = 0; i < c.layerCount; i++) {
      const layer = `layers.${i}`;
      x = residual(ctx, `${layer}.attention`, x, (h) =>
        attentionBlock(c, ctx, layer, norm(`${layer}.attention_norm`, h)),
      );
      x = residual(ctx, `${layer}.mlp`, x, (h) => plainMlp(c, ctx, layer, norm(`${layer}.mlp_norm`, h)));
      x = ctx.output(layer, x);
    }
    return norm("final_norm", x);
  },
  logits: vocabularyLogits,
};
