import { moduleWeights } from "../../models/family.ts";
import type { Method, Trainable } from "../method.ts";
import { type MethodKind, methodKind } from "../method-kind.ts";
import type { ModelShape } from "../model-shape.ts";
import { checkLayers, inLayers, type LayerChoice, readLayers } from "./layer-choice.ts";
import { chosenLayers, layerSettings } from "./target-options.ts";
import { wholeWeights } from "./whole-weights.ts";

const NAME = "full";

/** Full fine-tuning (FT of the LoRA paper, §5.1): every weight is trained, or every weight of some layers (FT-Top2: the last
 *  two, without embeddings, final norm and head, which is the paper's count). An output layer tied to the embedding stays so.
 *  Starts as the base, bit for bit.
 *  @throws InputError for layers that the model does not have */
export function full(layers: LayerChoice, { config, modules }: ModelShape): Method {
  const isTrained = inLayers(checkLayers(layers, config.layerCount));
  const trainables = modules
    .flatMap(moduleWeights)
    .filter(({ path }) => isTrained(path))
    .map(({ path, shape }): Trainable => {
      return { name: path, shape, init: async (_, base) => (await base(path)).data };
    });
  return wholeWeights({
    name: NAME,
    family: config.family,
    layers,
    trainables,
    keepsTie: trainables.some((t) => t.name === "embed.weight"),
  });
}

/** Full fine-tuning as a method of the table. */
export const fullKind: MethodKind = methodKind({
  name: NAME,
  summary: "every weight trained; with layers last:2 those of the last two layers",
  peftType: null,
  settings: layerSettings,
  create: (options, shape) => full(chosenLayers(options, shape), shape),
  open: (json, shape, where) => ({
    method: full(readLayers(json, shape.config.layerCount, where), shape),
    warnings: [],
  }),
});
