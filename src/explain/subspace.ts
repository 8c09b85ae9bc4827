import { ShapeError } from "../errors.ts";
import { columns } from "../tensor/leading-svd.ts";
import { type Matrix, product, transposedMatrix } from "../tensor/linear-algebra.ts";

/** How alike the leading directions of two matrices are. */
export interface SubspaceSimilarity {
  /** d: length of the directions. */
  readonly dimension: number;
  /** φ(i, j) at [i − 1][j − 1], in [0, 1]. */
  readonly phi: readonly (readonly number[])[];
}

/** φ(A, B, i, j) = ‖U_Aᵢᵀ·U_Bⱼ‖²_F / min(i, j) for every i and j (LoRA §7.2, eq. 4): 1 where the smaller of the two subspaces lies
 *  within the other, 0 where they are orthogonal. `a` [d, m] and `b` [d, n] hold orthonormal columns, singular directions by
 *  falling singular value. Beside it belongs `randomSimilarity`: in few dimensions random subspaces are alike too.
 *  @throws ShapeError if the directions differ in length */
export function subspaceSimilarity(a: Matrix, b: Matrix): SubspaceSimilarity {
  if (a.rows !== b.rows)
    throw new ShapeError(`directions of one length expected, got ${a.rows} and ${b.rows}`);
  const crossed = product(transposedMatrix(a), b);
  let above = new Float64Array(b.columns); // Σ of squares over the rows before, up to column j
  const phi = Array.from({ length: a.columns }, (_, i) => {
    let sum = 0;
    above = above.map((before, j) => {
      sum += (crossed.data[i * b.columns + j] as number) ** 2;
      return before + sum;
    });
    return Array.from(above, (x, j) => x / Math.min(i + 1, j + 1));
  });
  return { dimension: a.rows, phi };
}

/** What φ(i, j) of two random subspaces of R^d is on average: E‖Uᵢᵀ·Vⱼ‖²_F = i·j/d, so max(i, j)/d. */
export function randomSimilarity(i: number, j: number, dimension: number): number {
  return Math.max(i, j) / dimension;
}

/** The leading `count` columns, or all where there are fewer. */
export function leading(directions: Matrix, count: number): Matrix {
  return directions.columns <= count ? directions : columns(directions, 0, count);
}
