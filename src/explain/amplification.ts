import { ShapeError } from "../errors.ts";
import { leadingSvd } from "../tensor/leading-svd.ts";
import { type Matrix, matrix, norm } from "../tensor/linear-algebra.ts";
import type { FloatTensor } from "../tensor/tensor.ts";

/** How strongly a weight acts on directions: ‖UᵀWVᵀ‖_F in the paper's notation (LoRA §7.3, Table 7), with U [out, r] and V [in, r] as
 *  columns here, so ‖UᵀWV‖_F. W [out, in]. @throws ShapeError if they do not fit */
export function projectionNorm(u: Matrix, weight: FloatTensor, v: Matrix): number {
  const [outSize, inSize] = weight.shape as [number, number];
  if (u.rows !== outSize || v.rows !== inSize)
    throw new ShapeError(
      `W [${weight.shape}] needs U [${outSize}, r] and V [${inSize}, r], got [${u.rows}, …] and [${v.rows}, …]`,
    );
  const core = new Float64Array(u.columns * v.columns);
  const row = new Float64Array(v.columns);
  for (let i = 0; i < outSize; i++) {
    row.fill(0);
    for (let k = 0; k < inSize; k++) {
      const x = weight.data[i * inSize + k] as number;
      for (let j = 0; j < v.columns; j++)
        row[j] = (row[j] as number) + x * (v.data[k * v.columns + j] as number);
    }
    for (let p = 0; p < u.columns; p++) {
      const y = u.data[i * u.columns + p] as number;
      for (let j = 0; j < v.columns; j++)
        core[p * v.columns + j] = (core[p * v.columns + j] as number) + y * (row[j] as number);
    }
  }
  return norm(core);
}

/** What ‖UᵀWV‖_F is for random U and V of r orthonormal columns (the root of its mean square): ‖W‖_F·r/√(out·in). */
export function randomProjectionNorm(weight: FloatTensor, rank: number): number {
  const [outSize, inSize] = weight.shape as [number, number];
  return (norm(weight.data) * rank) / Math.sqrt(outSize * inSize);
}

/** ‖UᵀWV‖_F for W's own leading r directions: √(σ₁² + … + σᵣ²), the most that any have. From a Krylov space (`leadingSvd`). */
export function ownProjectionNorm(weight: FloatTensor, rank: number): number {
  const [outSize, inSize] = weight.shape as [number, number];
  return norm(leadingSvd(matrix(outSize, inSize, weight.data), Math.min(rank, outSize, inSize)).s);
}

/** How far an update amplifies what its weight does not (LoRA §7.3). */
export interface Amplification {
  /** r: directions of each. */
  readonly rank: number;
  /** ‖UᵀWV‖_F with U and V the leading r singular directions of ΔW. */
  readonly fromUpdate: number;
  /** With those of W: the most that any have; null where it was not asked for. */
  readonly fromWeight: number | null;
  /** With random ones, on average: the control. */
  readonly fromRandom: number;
  /** ‖ΔW‖_F / `fromUpdate`, the paper's amplification factor; null where that is 0. */
  readonly factor: number | null;
  /** The factor of an update as large in random directions: ‖ΔW‖_F / `fromRandom`. A factor near it says only that U and V have as
   *  little to do with W as chance. */
  readonly randomFactor: number | null;
}

/** Directions of an update, and its size. */
export interface Directions {
  /** [out, r], orthonormal columns. */
  readonly u: Matrix;
  /** [in, r] */
  readonly v: Matrix;
  /** ‖ΔW‖_F */
  readonly frobenius: number;
}

/** The amplification of a weight [out, in] by an update, with its controls. `own`: with W's own directions too, which takes most of
 *  the time. @throws ShapeError if they do not fit */
export function amplification(
  weight: FloatTensor,
  { u, v, frobenius }: Directions,
  own = true,
): Amplification {
  const rank = u.columns;
  const fromUpdate = projectionNorm(u, weight, v);
  const fromRandom = randomProjectionNorm(weight, rank);
  const times = (by: number): number | null => (by > 0 ? frobenius / by : null);
  return {
    rank,
    fromUpdate,
    fromWeight: own ? ownProjectionNorm(weight, rank) : null,
    fromRandom,
    factor: times(fromUpdate),
    randomFactor: times(fromRandom),
  };
}
