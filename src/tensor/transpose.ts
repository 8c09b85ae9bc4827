import { ShapeError } from "../errors.ts";
import { type FloatTensor, floats } from "./tensor.ts";

/** Side of the square that is moved at once: both of its sides stay in the first-level cache. */
const TILE = 32;

/** [m, n] → [n, m], a copy. @throws ShapeError if the tensor is not a matrix. */
export function transposed(tensor: FloatTensor): FloatTensor {
  const [m, n, ...rest] = tensor.shape;
  if (m === undefined || n === undefined || rest.length > 0)
    throw new ShapeError(`transpose needs a matrix, got shape [${tensor.shape}]`);
  const { data } = tensor;
  const out = new Float32Array(data.length);
  for (let i0 = 0; i0 < m; i0 += TILE)
    for (let j0 = 0; j0 < n; j0 += TILE)
      for (let i = i0; i < Math.min(i0 + TILE, m); i++)
        for (let j = j0; j < Math.min(j0 + TILE, n); j++) out[j * m + i] = data[i * n + j] as number;
  return floats(out, [n, m]);
}
