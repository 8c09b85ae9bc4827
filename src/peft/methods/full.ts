import { moduleWeights } from "../../models/family.ts";
import { defineMethod, type Method, type Trainable } from "../method.ts";
import { type MethodKind, methodKind } from "../method-kind.ts";
import type { ModelShape } from "../model-shape.ts";
import { checkLayers, inLayers, type LayerChoice, readLayers } from "./layer-choice.ts";
import { chosenLayers, layerSettings } from "./target-options.ts";
import { wholeWeightFiles } from "./whole-weights.ts";

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
  const paths = new Set(trainables.map((t) => t.name));
  return defineMethod({
    name: NAME,
    trainables,
    keepsTie: paths.has("embed.weight"),
    replace: (path, inputs) => (paths.has(path) ? inputs.trainable(path) : null),
    merging: { paths: [...paths], whole: paths, read: async (path, { trained }) => trained(path) },
    files: wholeWeightFiles(trainables, config.family, (baseModel) => ({
      base_model_name_or_path: baseModel,
      layers,
      lowrank_method: NAME,
    })),
    structure: JSON.stringify([NAME, layers]),
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
