import type { ModelConfig } from "../formats/model.ts";
import { add, layerNorm, sub, tanh } from "../graph/ops/index.ts";
import { int32s } from "../graph/ops/reduce.ts";
import type { Value } from "../graph/value.ts";
import type { ForwardContext, TokenInputs } from "./context.ts";
import { encoderOf, type Family, type ModuleSpec } from "./family.ts";
import { headLinear, linearModule, plainMlp, residual } from "./layers.ts";

function layerModules(c: ModelConfig, layer: string): ModuleSpec[] {
  const d = c.hiddenSize;
  return [
    ...["q", "k", "v", "o"].map((name) => linearModule(`${layer}.attention.${name}`, d, d, true)),
    { kind: "norm", path: `${layer}.attention_norm`, size: d, bias: true },
    linearModule(`${layer}.mlp.up`, d, c.mlpSize, true),
    linearModule(`${layer}.mlp.down`, c.mlpSize, d, true),
    { kind: "norm", path: `${layer}.mlp_norm`, size: d, bias: true },
  ];
}

/** Modules of an encoder of bert's kind, without its head. */
export function bertModules(c: ModelConfig): ModuleSpec[] {
  const { tokenTypeCount, firstPosition } = encoderOf(c);
  const embedding = (path: string, count: number): ModuleSpec => ({
    kind: "embedding",
    path,
    count,
    size: c.hiddenSize,
  });
  return [
    embedding("embed", c.vocabSize),
    embedding("positions", c.maxPositions + firstPosition),
    embedding("token_types", tokenTypeCount),
    { kind: "norm", path: "embed_norm", size: c.hiddenSize, bias: true },
    ...Array.from({ length: c.layerCount }, (_, i) => layerModules(c, `layers.${i}`)).flat(),
  ];
}

function attentionBlock(ctx: ForwardContext, layer: string, x: Value): Value {
  const path = `${layer}.attention`;
  const [q, k, v] = ["q", "k", "v"].map((name) => ctx.linear(`${path}.${name}`, x)) as [Value, Value, Value];
  return ctx.linear(`${path}.o`, ctx.attention(layer, q, k, v));
}

/** Forward pass of bert's kind (Devlin et al. 2019): learned positions and token types, norms after each block. */
export function bertForward(c: ModelConfig, ctx: ForwardContext, tokens: TokenInputs): Value {
  const { firstPosition } = encoderOf(c);
  const norm = (path: string, x: Value): Value =>
    layerNorm(x, ctx.weight(`${path}.weight`), ctx.weight(`${path}.bias`), c.normEpsilon);
  const positions = firstPosition === 0 ? tokens.positions : add(tokens.positions, int32s([firstPosition]));
  const types = tokens.types ?? sub(tokens.ids, tokens.ids);
  const embedded = ctx.output("embed", ctx.embedding("embed", tokens.ids));
  const typed = add(embedded, ctx.embedding("token_types", types));
  let x = norm("embed_norm", add(typed, ctx.embedding("positions", positions)));
  for (let i = 0; i < c.layerCount; i++) {
    const layer = `layers.${i}`;
    x = residual(ctx, `${layer}.attention`, x, (h) => attentionBlock(ctx, layer, h));
    x = norm(`${layer}.attention_norm`, x);
    x = residual(ctx, `${layer}.mlp`, x, (h) => plainMlp(c, ctx, layer, h));
    x = ctx.output(layer, norm(`${layer}.mlp_norm`, x));
  }
  return x;
}

/** BERT (Devlin et al. 2019). Head: classifier(tanh(pooler(first token))). */
export const bert: Family = {
  name: "bert",
  modules: (c) => [
    ...bertModules(c),
    headLinear("pooler", c.hiddenSize, c.hiddenSize),
    { ...headLinear("classifier", c.hiddenSize, encoderOf(c).classifier.labels.length), isOutput: true },
  ],
  forward: bertForward,
  logits: (ctx, hidden) => ctx.linear("classifier", tanh(ctx.linear("pooler", hidden))),
};
