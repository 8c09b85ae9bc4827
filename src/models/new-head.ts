import type { Classifier } from "../formats/model.ts";
import { constant } from "../graph/value.ts";
import { random } from "../tensor/random.ts";
import { type FloatTensor, floats, sizeOf } from "../tensor/tensor.ts";
import type { BaseModel } from "./base.ts";
import { type WeightLookup, weightLookups } from "./base-context.ts";
import { encoderOf, type ModuleSpec, moduleWeights, type WeightSpec } from "./family.ts";

/** Weights that a model has and its checkpoint lacks, or has in another shape: parts of a head. */
export function missingWeights(
  modules: readonly ModuleSpec[],
  shapeOf: (path: string) => readonly number[] | null,
): WeightSpec[] {
  const optional = modules.filter((m) => m.kind === "linear" && m.mayBeNew);
  return optional.flatMap(moduleWeights).filter(({ path, shape }) => `${shapeOf(path)}` !== `${shape}`);
}

/** As transformers starts a new head: weights from N(0, initializerRange²), biases 0; each from a stream of its own. */
function newWeight({ path, shape }: WeightSpec, deviation: number, seed: number): FloatTensor {
  const data = new Float32Array(sizeOf(shape));
  const generator = random(seed, path);
  return floats(path.endsWith(".bias") ? data : data.map(() => deviation * generator.normal()), shape);
}

/** A model whose head starts anew where the checkpoint has none; others stay as they are. */
export function withNewWeights(base: BaseModel, seed = 0): BaseModel {
  const missing = missingWeights(base.modules, (path) => base.weights.shapeOf(path));
  if (missing.length === 0) return { ...base, newWeights: [] };
  const { initializerRange } = encoderOf(base.config);
  const made = new Map(missing.map((spec) => [spec.path, newWeight(spec, initializerRange, seed)]));
  const values = new Map([...made].map(([path, tensor]) => [path, constant(tensor)]));
  const withMade =
    (stored: WeightLookup): WeightLookup =>
    (path) =>
      values.get(path) ?? stored(path);
  return {
    ...base,
    newWeights: [...made.keys()],
    weights: { ...base.weights, read: async (path) => made.get(path) ?? base.weights.read(path) },
    frozen: withMade(base.frozen),
    decoding: withMade(base.decoding),
  };
}

/** An encoder that tells other labels apart. What the checkpoint has of the head stays where it fits: with as many labels only
 *  their names change. */
export function withClassifier(base: BaseModel, classifier: Classifier, seed = 0): BaseModel {
  const config = { ...base.config, encoder: { ...encoderOf(base.config), classifier } };
  const modules = base.family.modules(config);
  return withNewWeights({ ...base, config, modules, ...weightLookups(modules, base.weights) }, seed);
}
