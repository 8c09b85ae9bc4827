import { ShapeError } from "../errors.ts";
import type { DType, TensorData } from "./dtype.ts";

/** Dense row-major host array. */
export interface Tensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** A float32 host array: what weights, adapters and optimizer state are. */
export interface FloatTensor extends Tensor {
  readonly dtype: "float32";
  readonly data: Float32Array;
}

/** Number of elements of a shape; 1 for a scalar `[]`. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((n, d) => n * d, 1);
}

function check(dtype: DType, shape: readonly number[], length: number): void {
  if (sizeOf(shape) !== length)
    throw new ShapeError(
      `${dtype} tensor of shape [${shape}] needs ${sizeOf(shape)} elements, got ${length}`,
    );
}

/** float32 tensor over `data` (not copied). @throws ShapeError if the length does not fit. */
export function floats(data: Float32Array, shape: readonly number[]): FloatTensor {
  check("float32", shape, data.length);
  return { dtype: "float32", shape, data };
}

/** int32 tensor over `data` (not copied). @throws ShapeError if the length does not fit. */
export function ints(data: Int32Array, shape: readonly number[]): Tensor {
  check("int32", shape, data.length);
  return { dtype: "int32", shape, data };
}

/** int64 tensor over `data` (not copied). @throws ShapeError if the length does not fit. */
export function longs(data: BigInt64Array, shape: readonly number[]): Tensor {
  check("int64", shape, data.length);
  return { dtype: "int64", shape, data };
}

/** int32 tensor [count] of `from`, `from` + 1, …. */
export function iota(count: number, from = 0): Tensor {
  return ints(
    Int32Array.from({ length: count }, (_, i) => from + i),
    [count],
  );
}

/** uint4 tensor over `data` (not copied), two elements in a byte, the low half first. @throws ShapeError if the length does not
 *  fit. */
export function uint4s(data: Uint8Array, shape: readonly number[]): Tensor {
  check("uint4", shape, 2 * data.length);
  return { dtype: "uint4", shape, data };
}

/** float32 scalar, shape []. */
export function scalar(value: number): FloatTensor {
  return floats(Float32Array.of(value), []);
}
