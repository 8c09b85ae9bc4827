import { columns, leadingSvd } from "../tensor/leading-svd.ts";
import { type Matrix, matrix, norm, type Svd, svdOfProduct } from "../tensor/linear-algebra.ts";
import { random } from "../tensor/random.ts";
import type { ModuleUpdate } from "./update.ts";

/** Leading singular values of an update that is no product of factors. */
export const LEADING = 16;

/** Singular values below this share of the largest are the rounding of float32 factors (2⁻²⁴ ≈ 6e-8). */
const ROUNDING = 1e-7;

/** An update taken apart: ΔW = U·diag(s)·Vᵀ. */
export interface Spectrum extends Svd {
  /** ‖ΔW‖_F, exact. */
  readonly frobenius: number;
  /** Whether `s` holds every singular value that is not zero; else the leading `LEADING`. */
  readonly isComplete: boolean;
}

/** The singular value decomposition of an update, without directions of no weight. Of s·B·A from its factors: QR of B and of Aᵀ, then
 *  the SVD of an r × r matrix, exact to double precision. Of others the leading directions in a Krylov space (`leadingSvd`: within
 *  about 1e-3 of the largest singular value, mostly far better). */
export async function spectrumOf(update: ModuleUpdate): Promise<Spectrum> {
  const { factors } = update;
  if (factors === null) {
    const delta = await update.delta();
    return trimmed(leadingSvd(delta, Math.min(LEADING, delta.rows, delta.columns)), norm(delta.data));
  }
  const { a, b, scaling } = factors;
  const [rank, inSize] = a.shape as [number, number];
  const unscaled = svdOfProduct(matrix(b.shape[0] as number, rank, b.data), matrix(rank, inSize, a.data));
  const s = unscaled.s.map((x) => x * Math.abs(scaling));
  const sign = Math.sign(scaling);
  const u = { ...unscaled.u, data: unscaled.u.data.map((x) => x * sign) };
  return trimmed({ u, s, v: unscaled.v }, norm(s));
}

function trimmed({ u, s, v }: Svd, frobenius: number): Spectrum {
  const limit = ROUNDING * (s[0] ?? 0);
  const count = s.filter((x) => x > limit).length;
  const missing = frobenius ** 2 - norm(s) ** 2;
  return {
    u: columns(u, 0, count),
    s: s.slice(0, count),
    v: columns(v, 0, count),
    frobenius,
    isComplete: missing <= 1e-9 * frobenius ** 2,
  };
}

/** exp of the entropy of the singular values as shares of their sum (Roy & Vetterli 2007): n for n equal ones, near 1 where one
 *  outweighs the rest; 0 for none. All of them are needed. */
export function effectiveRank(singularValues: ArrayLike<number>): number {
  const values = Array.from(singularValues).filter((x) => x > 0);
  const sum = values.reduce((a, b) => a + b, 0);
  if (sum === 0) return 0;
  return Math.exp(-values.reduce((h, x) => h + (x / sum) * Math.log(x / sum), 0));
}

/** ‖ΔW‖²_F / σ₁²: how many directions as strong as the first the update is worth; 0 for none. */
export function stableRank(singularValues: ArrayLike<number>, frobenius: number): number {
  const first = singularValues[0] ?? 0;
  return first === 0 ? 0 : (frobenius / first) ** 2;
}

/** Share of ‖ΔW‖²_F that the best approximation of a rank keeps (Eckart & Young 1936). */
export function keptBy(rank: number, singularValues: ArrayLike<number>, frobenius: number): number {
  if (frobenius === 0) return 1;
  const kept = Array.from(singularValues)
    .slice(0, rank)
    .reduce((sum, s) => sum + s * s, 0);
  return Math.min(1, kept / frobenius ** 2);
}

/** The smallest rank that keeps a share of ‖ΔW‖²_F; null where more singular values are needed than are known. */
export function rankKeeping(
  share: number,
  singularValues: ArrayLike<number>,
  frobenius: number,
): number | null {
  // What rounding takes away from a sum of squares is no rank.
  for (let rank = 0; rank <= singularValues.length; rank++)
    if (keptBy(rank, singularValues, frobenius) >= share - 1e-12) return rank;
  return null;
}

/** Singular values of B·A with B [out, rank] and A [rank, in] of independent normal numbers: what an adapter has that learned no
 *  direction in particular. One draw; that of shape and seed is always the same. */
export function randomSpectrum(outSize: number, inSize: number, rank: number, seed = 0): Float64Array {
  const generator = random(seed, `random spectrum ${outSize} ${inSize} ${rank}`);
  const draw = (rows: number, width: number): Matrix => ({
    rows,
    columns: width,
    data: Float64Array.from({ length: rows * width }, () => generator.normal()),
  });
  return svdOfProduct(draw(outSize, rank), draw(rank, inSize)).s;
}
