import type { ModelConfig } from "../formats/model.ts";
import { rotary, split } from "../graph/ops/index.ts";
import type { Value } from "../graph/value.ts";
import type { Family, ModuleSpec } from "./family.ts";
import { gated, linearModule, vocabularyLogits } from "./layers.ts";
import { type AttentionBlock, llamaForward, llamaModules, type MlpBlock } from "./llama.ts";

function layerModules(c: ModelConfig, layer: string): ModuleSpec[] {
  const { hiddenSize: d, mlpSize, headDim } = c;
  const width = c.headCount * headDim;
  return [
    { kind: "norm", path: `${layer}.attention_norm`, size: d, bias: false },
    linearModule(`${layer}.attention.qkv`, d, width + 2 * c.kvHeadCount * headDim, false),
    linearModule(`${layer}.attention.o`, width, d, false),
    { kind: "norm", path: `${layer}.mlp_norm`, size: d, bias: false },
    linearModule(`${layer}.mlp.gate_up`, d, 2 * mlpSize, false),
    linearModule(`${layer}.mlp.down`, mlpSize, d, false),
  ];
}

const attention: AttentionBlock = (c, ctx, layer, x, positions, tables) => {
  const kvWidth = c.kvHeadCount * c.headDim;
  const sizes = [c.headCount * c.headDim, kvWidth, kvWidth];
  const [q, k, v] = split(ctx.linear(`${layer}.attention.qkv`, x), sizes, 2) as [Value, Value, Value];
  const mixed = ctx.attention(layer, rotary(q, positions, tables), rotary(k, positions, tables), v);
  return ctx.linear(`${layer}.attention.o`, mixed);
};

const mlp: MlpBlock = (c, ctx, layer, x) => {
  const both = split(ctx.linear(`${layer}.mlp.gate_up`, x), [c.mlpSize, c.mlpSize], 2);
  const [gate, up] = both as [Value, Value];
  return ctx.linear(`${layer}.mlp.down`, gated(c, ctx, gate, up));
};

/** Phi-3 (Abdin et al. 2024): llama with q, k and v in one projection, and gate and up in one, as its adapters have them. */
export const phi3: Family = {
  name: "phi3",
  modules: (c) => llamaModules(c, layerModules),
  forward: (c, ctx, tokens, tableLength) => llamaForward(c, ctx, tokens, tableLength, { attention, mlp }),
  logits: vocabularyLogits,
};
