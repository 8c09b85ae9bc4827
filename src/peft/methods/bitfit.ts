import { InputError } from "../../errors.ts";
import { allBiasesConfig } from "../../formats/architectures/table.ts";
import { hfTensorName } from "../../formats/names.ts";
import { floats } from "../../tensor/tensor.ts";
import type { Merging, Method, Trainable } from "../method.ts";
import { type MethodKind, methodKind } from "../method-kind.ts";
import type { ModelShape } from "../model-shape.ts";
import { checkLayers, inLayers, type LayerChoice, readLayers } from "./layer-choice.ts";
import { chosenLayers, layerSettings } from "./target-options.ts";
import { wholeWeights } from "./whole-weights.ts";

const NAME = "bitfit";

/** Biases of a model: path, size. */
interface Biases {
  readonly all: readonly { readonly path: string; readonly size: number }[];
  /** The model has none of its own: each linear layer but the head gets one. */
  readonly areAdded: boolean;
}

function biasesOf({ modules }: Pick<ModelShape, "modules">): Biases {
  const own = modules.flatMap((m) =>
    m.kind !== "embedding" && m.bias
      ? [{ path: `${m.path}.bias`, size: m.kind === "linear" ? m.outSize : m.size }]
      : [],
  );
  if (own.length > 0) return { all: own, areAdded: false };
  const added = modules.flatMap((m) =>
    m.kind === "linear" && !m.isOutput ? [{ path: `${m.path}.bias`, size: m.outSize }] : [],
  );
  return { all: added, areAdded: true };
}

/** A plain model has the added biases in every layer or in none: those of other layers are zero. */
function addedMerging(
  biases: Biases,
  trained: ReadonlySet<string>,
  { config }: ModelShape,
): Merging | string {
  const { architecture } = config;
  if (allBiasesConfig(architecture) === null)
    return `${architecture} has no place for the biases that it added to all linear layers`;
  const sizes = new Map(biases.all.map((b) => [b.path, b.size]));
  return {
    paths: [...sizes.keys()],
    whole: new Set(sizes.keys()),
    read: async (path, from) => {
      const size = sizes.get(path) as number;
      return trained.has(path) ? from.trained(path) : floats(new Float32Array(size), [size]);
    },
  };
}

function trainableOf(path: string, size: number, isAdded: boolean): Trainable {
  return {
    name: path,
    shape: [size],
    init: async (_, base) => (isAdded ? new Float32Array(size) : (await base(path)).data),
  };
}

/** BitFit (Ben Zaken et al. 2021; LoRA §5.1): only biases are trained, those of linear layers and of norms. A model without
 *  any gets them, zero, on each linear layer but the head. Starts as the base (of added biases: up to x + 0 = x).
 *  @throws InputError for layers that the model does not have, or that have no biases */
export function bitfit(layers: LayerChoice, shape: ModelShape): Method {
  const { family, layerCount, architecture } = shape.config;
  const biases = biasesOf(shape);
  const chosen = biases.all.filter(({ path }) => inLayers(checkLayers(layers, layerCount))(path));
  if (chosen.length === 0)
    throw new InputError("bitfit does not fit these options", [
      { where: "layers", message: "has no layer with biases" },
    ]);
  const trainables = chosen.map(({ path, size }) => trainableOf(path, size, biases.areAdded));
  const paths = new Set(trainables.map((t) => t.name));
  const count = trainables.reduce((n, t) => n + (t.shape[0] as number), 0);
  const notice =
    `${architecture} has no biases here: bitfit adds ${count} in ${paths.size} linear layers (all but the head), ` +
    "zero at the start";
  const own = { name: NAME, family, layers, trainables };
  if (!biases.areAdded) return wholeWeights(own);
  return wholeWeights({
    ...own,
    notices: [notice],
    startsAtZero: new Map([...paths].map((p) => [p, hfTensorName(family, p)])),
    merging: addedMerging(biases, paths, shape),
  });
}

/** BitFit as a method of the table. */
export const bitfitKind: MethodKind = methodKind({
  name: NAME,
  summary: "biases only",
  peftType: null,
  settings: layerSettings,
  create: (options, shape) => bitfit(chosenLayers(options, shape), shape),
  open: (json, shape, where) => ({
    method: bitfit(readLayers(json, shape.config.layerCount, where), shape),
    warnings: [],
  }),
});
