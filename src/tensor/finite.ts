import { FormatError } from "../errors.ts";
import type { FloatTensor } from "./tensor.ts";

/** Index of the first NaN or infinity, or -1. */
export function firstNonFinite(data: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += (data[i] as number) * 0; // 0, or NaN for ever after
  return sum === 0 ? -1 : data.findIndex((x) => !Number.isFinite(x));
}

function coordinates(index: number, shape: readonly number[]): number[] {
  let rest = index;
  return shape
    .toReversed()
    .map((d) => {
      const at = rest % d;
      rest = Math.floor(rest / d);
      return at;
    })
    .reverse();
}

/** Passes a tensor through if all its values are finite.
 *  @throws FormatError naming file, tensor and the first bad element. */
export function requireFinite(where: string, name: string, tensor: FloatTensor): FloatTensor {
  const index = firstNonFinite(tensor.data);
  if (index < 0) return tensor;
  const at = coordinates(index, tensor.shape);
  throw new FormatError(
    where,
    `tensor "${name}" has ${tensor.data[index]} at [${at}], expected finite weights`,
  );
}
