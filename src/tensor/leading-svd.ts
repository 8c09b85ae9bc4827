import { type Matrix, product, type Svd, svd, thinQr, transposedMatrix } from "./linear-algebra.ts";
import { random } from "./random.ts";

/** Up to this size the whole decomposition is the quicker way. */
const SMALL = 96;
/** Directions beside the wanted ones: what lies just below them converges with them. */
const SPARE = 8;
const BLOCKS = 5;

/** The leading `count` singular triplets of a [m, n]: u [m, count], s, v [n, count]. Small matrices exactly; others in a
 *  Krylov space of random directions (Musco & Musco 2015, Algorithm 2), always the same ones. The more the singular values
 *  fall, the more exact: to rounding where they halve within `count`, to about 1e-3 of the largest where they hardly fall. */
export function leadingSvd(a: Matrix, count: number): Svd {
  if (a.rows < a.columns) {
    const { u, s, v } = leadingSvd(transposedMatrix(a), count);
    return { u: v, s, v: u };
  }
  const width = count + SPARE;
  if (a.columns <= SMALL || width * BLOCKS >= a.columns) return leadingOf(svd(a), count);
  return leadingOf(inSpace(krylovSpace(a, width)), count);
}

/** Directions, and what a makes of them. */
interface Space {
  /** [n, width · BLOCKS], orthonormal. */
  readonly directions: Matrix;
  /** a · directions [m, width · BLOCKS]. */
  readonly images: Matrix;
}

/** The space of Ω, AᵀA·Ω, (AᵀA)²·Ω, … */
function krylovSpace(a: Matrix, width: number): Space {
  const turned = transposedMatrix(a);
  const generator = random(0, "leading-svd");
  const data = Float64Array.from({ length: a.columns * width }, () => generator.normal());
  let directions = thinQr({ rows: a.columns, columns: width, data }).q;
  let newest = product(a, directions);
  let images = newest;
  for (let i = 1; i < BLOCKS; i++) {
    directions = thinQr(besides(directions, product(turned, newest))).q;
    newest = product(a, columns(directions, directions.columns - width, directions.columns));
    images = besides(images, newest);
  }
  return { directions, images };
}

/** The decomposition of a on a space (Rayleigh-Ritz). */
function inSpace({ directions, images }: Space): Svd {
  const { q, r } = thinQr(images);
  const core = svd(r);
  return { u: product(q, core.u), s: core.s, v: product(directions, core.v) };
}

function leadingOf({ u, s, v }: Svd, count: number): Svd {
  return { u: columns(u, 0, count), s: s.slice(0, count), v: columns(v, 0, count) };
}

/** Columns [from, to). */
export function columns(a: Matrix, from: number, to: number): Matrix {
  const width = to - from;
  const data = new Float64Array(a.rows * width);
  for (let i = 0; i < a.rows; i++)
    data.set(a.data.subarray(i * a.columns + from, i * a.columns + to), i * width);
  return { rows: a.rows, columns: width, data };
}

/** [a, b], side by side. */
function besides(a: Matrix, b: Matrix): Matrix {
  const width = a.columns + b.columns;
  const data = new Float64Array(a.rows * width);
  for (let i = 0; i < a.rows; i++) {
    data.set(a.data.subarray(i * a.columns, (i + 1) * a.columns), i * width);
    data.set(b.data.subarray(i * b.columns, (i + 1) * b.columns), i * width + a.columns);
  }
  return { rows: a.rows, columns: width, data };
}
