import { hfTensorName, isTransposed } from "../../formats/names.ts";
import type { FloatTensor } from "../../tensor/tensor.ts";
import { transposed } from "../../tensor/transpose.ts";
import type { AdapterTensors, Trainable } from "../method.ts";
import { type NamedShape, readNamed } from "./named-tensors.ts";

/** Weights trained whole in a file, each under the name and in the orientation of a Hugging Face checkpoint: the tensors are
 *  those of the fine-tuned model. `trainables`: named by their paths. */
export function wholeWeightFiles(
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
