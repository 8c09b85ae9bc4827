import { type FloatTensor, floats } from "../../tensor/tensor.ts";
import { defineMethod, type Method, type Trainable } from "../method.ts";
import { type MethodKind, methodKind } from "../method-kind.ts";
import type { ModelShape } from "../model-shape.ts";
import { readNamed } from "./named-tensors.ts";
import { ownVirtualTokens, type VirtualPlan, virtualPlan, virtualTrainable } from "./prefix-embedding.ts";
import { virtualTokenSettings } from "./prefix-options.ts";
import { virtualRows } from "./virtual-rows.ts";

const NAME = "prefix-layer";

function nameOf(layer: number): string {
  return `virtualTokens.${layer}`;
}

/** The embeddings start as those of prefix-embedding do, and what follows them as what the base makes of them, so that the
 *  first step finds a prefix as prefix-embedding would have it. */
function trainablesOf(plan: VirtualPlan, shape: ModelShape): readonly Trainable[] {
  const embedding = virtualTrainable(nameOf(0), plan, shape);
  let made: ReadonlyMap<string, FloatTensor> = new Map();
  const first: Trainable = {
    ...embedding,
    init: async (...from) => {
      const rows = await embedding.init(...from);
      const [, , activations] = from;
      made = await activations(floats(rows, embedding.shape));
      return rows;
    },
  };
  return Array.from({ length: shape.config.layerCount }, (_, i) =>
    i === 0
      ? first
      : {
          name: nameOf(i),
          shape: embedding.shape,
          init: () => (made.get(`layers.${i - 1}`) as FloatTensor).data,
        },
  );
}

/** Prefix-layer tuning (PreLayer of the LoRA paper, §5.1): as prefix-embedding, and the activations of the virtual tokens
 *  are replaced by trained ones after each layer. |Θ| = L·d·(l_p + l_i).
 *
 *  The paper's "activations after every Transformer layer" and its count L agree in this reading: one set is the input of
 *  each layer, that is the embeddings ("the activations after the embedding layer") and what leaves layers 1 … L−1. What
 *  leaves the last layer is not replaced: no token reads it at a prefix position, and the last infix position predicts the
 *  completion's first token, which must depend on the prompt. */
export function prefixLayer(plan: VirtualPlan, shape: ModelShape): Method {
  const { vocabSize } = shape.config;
  const { prefix, infix } = plan.tokens;
  const trainables = trainablesOf(plan, shape);
  // The trained input of each layer by the path of what comes before.
  const after = new Map(trainables.map((t, i) => [i === 0 ? "embed" : `layers.${i - 1}`, t.name]));
  const places = new Map(trainables.map((t, i) => [`prompt_embeddings.${i}`, t]));
  return defineMethod({
    name: NAME,
    trainables,
    virtualTokens: plan.tokens,
    wrap: (ctx, inputs) => {
      const rows = virtualRows(inputs.ids, vocabSize, prefix + infix);
      return {
        ...ctx,
        embedding: (path, ids) => ctx.embedding(path, path === "embed" ? rows.tableIds : ids),
        output: (path, x) => {
          const y = ctx.output(path, x);
          const name = after.get(path);
          return name === undefined ? y : rows.replace(y, inputs.trainable(name));
        },
      };
    },
    merging: "its virtual tokens are part of the sequence, and no weight holds them",
    files: {
      config: (baseModel) => ({
        base_model_name_or_path: baseModel,
        infix_length: infix,
        lowrank_method: NAME,
        prefix_length: prefix,
      }),
      write: (values) => new Map([...places].map(([key, t]) => [key, values.get(t.name) as FloatTensor])),
      read: (tensors, where) => readNamed(places, tensors, where),
    },
    structure: JSON.stringify([NAME, plan.tokens]),
  });
}

/** Prefix-layer tuning as a method of the table. */
export const prefixLayerKind: MethodKind = methodKind({
  name: NAME,
  summary: "trainable activations of virtual tokens at the input of every layer",
  peftType: null,
  settings: virtualTokenSettings,
  create: (options, shape) => prefixLayer(virtualPlan(options, NAME), shape),
  open: (json, shape, where) => {
    const tokens = ownVirtualTokens(json, where);
    return { method: prefixLayer({ tokens, text: null }, shape), warnings: [] };
  },
});
