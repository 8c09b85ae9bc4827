import { type Matrix, matrix, product, thinQr, transposedMatrix } from "../../src/tensor/linear-algebra.ts";
import { random } from "../../src/tensor/random.ts";
import { type FloatTensor, floats } from "../../src/tensor/tensor.ts";

/** Independent normal numbers. */
export function gaussian(rows: number, columns: number, seed: number): Matrix {
  const generator = random(seed, "test");
  return matrix(
    rows,
    columns,
    Float64Array.from({ length: rows * columns }, () => generator.normal()),
  );
}

/** Random orthonormal columns. */
export function orthonormal(rows: number, columns: number, seed: number): Matrix {
  return thinQr(gaussian(rows, columns, seed)).q;
}

/** u·diag(s)·vᵀ. */
export function withSpectrum(u: Matrix, s: readonly number[], v: Matrix): Matrix {
  return product(scaledColumns(u, s), transposedMatrix(v));
}

/** m·diag(s). */
export function scaledColumns(m: Matrix, s: readonly number[]): Matrix {
  return { ...m, data: m.data.map((x, i) => x * (s[i % m.columns] as number)) };
}

export function tensorOf(m: Matrix): FloatTensor {
  return floats(Float32Array.from(m.data), [m.rows, m.columns]);
}
