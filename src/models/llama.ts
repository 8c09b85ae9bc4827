import type { ModelConfig } from "../formats/model.ts";
import type { RotaryTables } from "../graph/ops/index.ts";
import { rmsNorm, rotary } from "../graph/ops/index.ts";
import type { Value } from "../graph/value.ts";
import type { ForwardContext, TokenInputs } from "./context.ts";
import type { Family, ModuleSpec } from "./family.ts";
import {
  gated,
  headModule,
  linearModule,
  linears,
  residual,
  rotaryTables,
  vocabularyLogits,
} from "./layers.ts";

/** Attention of a layer `layers.0`, from the normed x [R, T, d] to what is added to the stream. */
export type AttentionBlock = (
  config: ModelConfig,
  ctx: ForwardContext,
  layer: string,
  x: Value,
  positions: Value,
  tables: RotaryTables,
) => Value;

/** MLP of a layer, from the normed x [R, T, d] to what is added to the stream. */
export type MlpBlock = (config: ModelConfig, ctx: ForwardContext, layer: string, x: Value) => Value;

/** What a relative of llama changes about a query or key before its rotation: [R, T, width] → same. */
export type HeadNorm = (config: ModelConfig, ctx: ForwardContext, path: string, x: Value) => Value;

const unchanged: HeadNorm = (_config, _ctx, _path, x) => x;

/** Modules of a layer `layers.0` of llama. */
export function llamaLayer(c: ModelConfig, layer: string): ModuleSpec[] {
  const width = c.headCount * c.headDim;
  const kvWidth = c.kvHeadCount * c.headDim;
  return [
    { kind: "norm", path: `${layer}.attention_norm`, size: c.hiddenSize, bias: false },
    linearModule(`${layer}.attention.q`, c.hiddenSize, width, c.qkvBias),
    linearModule(`${layer}.attention.k`, c.hiddenSize, kvWidth, c.qkvBias),
    linearModule(`${layer}.attention.v`, c.hiddenSize, kvWidth, c.qkvBias),
    linearModule(`${layer}.attention.o`, width, c.hiddenSize, c.outputBias),
    { kind: "norm", path: `${layer}.mlp_norm`, size: c.hiddenSize, bias: false },
    linearModule(`${layer}.mlp.gate`, c.hiddenSize, c.mlpSize, c.mlpBias),
    linearModule(`${layer}.mlp.up`, c.hiddenSize, c.mlpSize, c.mlpBias),
    linearModule(`${layer}.mlp.down`, c.mlpSize, c.hiddenSize, c.mlpBias),
  ];
}

/** Modules of a llama-shaped decoder; `ofLayer`: those of a layer `layers.0`. */
export function llamaModules(
  c: ModelConfig,
  ofLayer: (config: ModelConfig, layer: string) => readonly ModuleSpec[] = llamaLayer,
): ModuleSpec[] {
  return [
    { kind: "embedding", path: "embed", count: c.vocabSize, size: c.hiddenSize },
    ...Array.from({ length: c.layerCount }, (_, i) => ofLayer(c, `layers.${i}`)).flat(),
    { kind: "norm", path: "final_norm", size: c.hiddenSize, bias: false },
    headModule(c),
  ];
}

/** Attention with rotary positions and projections q, k, v and o. */
export function rotaryAttention(headNorm: HeadNorm = unchanged): AttentionBlock {
  return (c, ctx, layer, x, positions, tables) => {
    const path = `${layer}.attention`;
    const projections = linears(ctx, [`${path}.q`, `${path}.k`, `${path}.v`], x);
    const [query, key, v] = projections as [Value, Value, Value];
    const q = rotary(headNorm(c, ctx, `${path}.q_norm`, query), positions, tables);
    const k = rotary(headNorm(c, ctx, `${path}.k_norm`, key), positions, tables);
    return ctx.linear(`${path}.o`, ctx.attention(layer, q, k, v));
  };
}

/** Gated MLP: down(act(gate(x)) ∘ up(x)). */
export const gatedMlp: MlpBlock = (c, ctx, layer, x) => {
  const [gate, up] = linears(ctx, [`${layer}.mlp.gate`, `${layer}.mlp.up`], x) as [Value, Value];
  return ctx.linear(`${layer}.mlp.down`, gated(c, ctx, gate, up));
};

const LLAMA_BLOCKS = { attention: rotaryAttention(), mlp: gatedMlp };

/** Forward pass of a llama-shaped decoder (Touvron et al. 2023): pre-norm, RoPE, SwiGLU. */
export function llamaForward(
  c: ModelConfig,
  ctx: ForwardContext,
  tokens: TokenInputs,
  tableLength: number,
  blocks: { readonly attention: AttentionBlock; readonly mlp: MlpBlock } = LLAMA_BLOCKS,
): Value {
  const tables = rotaryTables(c.rope as NonNullable<typeof c.rope>, c.headDim, tableLength);
  const norm = (path: string, x: Value): Value => rmsNorm(x, ctx.weight(`${path}.weight`), c.normEpsilon);
  let x = ctx.output("embed", ctx.embedding("embed", tokens.ids));
  for (let i = 0; i < c.layerCount; i++) {
    const layer = `layers.${i}`;
    x = residual(ctx, `${layer}.attention`, x, (h) =>
      blocks.attention(c, ctx, layer, norm(`${layer}.attention_norm`, h), tokens.positions, tables),
    );
    x = residual(ctx, `${layer}.mlp`, x, (h) => blocks.mlp(c, ctx, layer, norm(`${layer}.mlp_norm`, h)));
    x = ctx.output(layer, x);
  }
  return norm("final_norm", x);
}

/** Llama 1-3, SmolLM2, TinyLlama, Mistral. */
export const llama: Family = {
  name: "llama",
  modules: (c) => llamaModules(c),
  forward: (c, ctx, tokens, tableLength) => llamaForward(c, ctx, tokens, tableLength),
  logits: vocabularyLogits,
};
