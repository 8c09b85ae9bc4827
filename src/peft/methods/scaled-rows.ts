import { type FloatTensor, floats } from "../../tensor/tensor.ts";

/** diag(factors)·matrix: each row [i, …] times factors[i]. */
export function rowsTimes(matrix: FloatTensor, factors: FloatTensor): FloatTensor {
  const width = matrix.data.length / (matrix.shape[0] as number);
  const scaled = matrix.data.map((x, i) => x * (factors.data[Math.floor(i / width)] as number));
  return floats(scaled, matrix.shape);
}
