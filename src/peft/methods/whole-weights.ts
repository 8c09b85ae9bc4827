import { hfTensorName, isTransposed } from "../../formats/names.ts";
import type { FloatTensor } from "../../tensor/tensor.ts";
import { transposed } from "../../tensor/transpose.ts";
import { type AdapterTensors, defineMethod, type Merging, type Method, type Trainable } from "../method.ts";
import type { LayerChoice } from "./layer-choice.ts";
import { type NamedShape, readNamed } from "./named-tensors.ts";

/** Weights trained whole in a file, each under the name and in the orientation of a Hugging Face checkpoint: the tensors are
 *  those of the fine-tuned model. `trainables`: named by their paths. */
function wholeWeightFiles(
  trainables: readonly Trainable[],
  family: string,
  config: AdapterTensors["config"],
): AdapterTensors {
  const turn = (path: string, tensor: FloatTensor): FloatTensor =>
    isTransposed(family, path) ? transposed(tensor) : tensor;
  const places = new Map(
    trainables.map(({ name, shape }): [string, NamedShape] => [
      hfTensorName(family, name),
      { name, shape: isTransposed(family, name) ? shape.toReversed() : shape },
    ]),
  );
  return {
    config,
    write: (values) =>
      new Map([...places].map(([key, { name }]) => [key, turn(name, values.get(name) as FloatTensor)])),
    read: (tensors, where) => {
      const stored = readNamed(places, tensors, where);
      return new Map([...stored].map(([name, tensor]) => [name, turn(name, tensor)]));
    },
  };
}

/** What a method that trains weights whole says of itself. */
interface WholeWeights extends Partial<Pick<Method, "keepsTie" | "notices" | "startsAtZero">> {
  readonly name: string;
  readonly family: string;
  readonly layers: LayerChoice;
  /** Named by the paths of the weights. */
  readonly trainables: readonly Trainable[];
  /** Default: each takes the place of the base's. */
  readonly merging?: Merging | string;
}

/** A method that trains weights of some layers whole: each takes the place of the base's. */
export function wholeWeights({ name, family, layers, trainables, ...rest }: WholeWeights): Method {
  const paths = new Set(trainables.map((t) => t.name));
  return defineMethod({
    name,
    trainables,
    replace: (path, inputs) => (paths.has(path) ? inputs.trainable(path) : null),
    merging: { paths: [...paths], whole: paths, read: async (path, { trained }) => trained(path) },
    files: wholeWeightFiles(trainables, family, (baseModel) => ({
      base_model_name_or_path: baseModel,
      layers,
      lowrank_method: name,
    })),
    structure: JSON.stringify([name, layers]),
    ...rest,
  });
}
