import { InputError, type Problem } from "../../errors.ts";
import type { FloatTensor } from "../../tensor/tensor.ts";

/** A trained value's name, and its shape. */
export interface NamedShape {
  readonly name: string;
  readonly shape: readonly number[];
}

/** Trained values by name, of the tensors of a file by key. `places`: what stands under each key.
 *  @throws InputError listing every tensor that is missing, superfluous or of another shape */
export function readNamed(
  places: ReadonlyMap<string, NamedShape>,
  tensors: ReadonlyMap<string, FloatTensor>,
  where: string,
): Map<string, FloatTensor> {
  const problems: Problem[] = [];
  const values = new Map<string, FloatTensor>();
  for (const [key, { name, shape }] of places) {
    const tensor = tensors.get(key);
    if (!tensor) problems.push({ where: key, message: "is not in the adapter" });
    else if (`${tensor.shape}` === `${shape}`) values.set(name, tensor);
    else {
      const message = `expected shape [${shape}] for this model, got [${tensor.shape}]`;
      problems.push({ where: key, message });
    }
  }
  for (const key of tensors.keys())
    if (!places.has(key)) problems.push({ where: key, message: "has no place in this model" });
  if (problems.length > 0) throw new InputError(`${where}: the adapter does not fit the model`, problems);
  return values;
}
