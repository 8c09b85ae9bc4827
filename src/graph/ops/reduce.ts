import { ints, longs } from "../../tensor/tensor.ts";
import { apply, constant, type Dim, known, type Value } from "../value.ts";
import { scale } from "./arithmetic.ts";
import { expandLike, reshapeLike } from "./shape.ts";

/** int64 constant vector: axes, shapes, starts. */
export function int64s(values: readonly number[]): Value {
  return constant(longs(BigInt64Array.from(values, BigInt), [values.length]));
}

/** int64 constant []: an index, a bound. */
export function int64Scalar(value: number): Value {
  return constant(longs(BigInt64Array.of(BigInt(value)), []));
}

/** int32 constant vector: positions and their differences. */
export function int32s(values: readonly number[]): Value {
  return constant(ints(Int32Array.from(values), [values.length]));
}

function normalize(axes: readonly number[], rank: number): number[] {
  return axes.map((a) => (a < 0 ? a + rank : a)).sort((a, b) => a - b);
}

function reducedShape(shape: readonly Dim[], axes: readonly number[], keep: boolean): Dim[] {
  return shape.flatMap((d, i) => (axes.includes(i) ? (keep ? [1] : []) : [d]));
}

/** Σ over `axes` (negative counts from the end; kept as 1 if `keep`). */
export function sum(x: Value, axes: readonly number[], keep = false): Value {
  const over = normalize(axes, x.shape.length);
  const kept = reducedShape(x.shape, over, true);
  return apply(
    "ReduceSum",
    [x, int64s(over)],
    reducedShape(x.shape, over, keep),
    { keepdims: keep ? 1 : 0 },
    (dy) => [expandLike(keep ? dy : unsqueeze(dy, over, kept), x), null],
  );
}

/** Mean over `axes`, whose sizes must be known. @throws ShapeError if they are not. */
export function mean(x: Value, axes: readonly number[], keep = false): Value {
  const count = normalize(axes, x.shape.length).reduce((n, a) => n * known(x.shape[a], "mean"), 1);
  return scale(sum(x, axes, keep), 1 / count);
}

/** Σ over every axis: shape []. */
export function sumAll(x: Value): Value {
  return sum(
    x,
    x.shape.map((_, i) => i),
  );
}

/** `x` in `shape`, which has a 1 at each of `axes` beside its dimensions. */
export function unsqueeze(x: Value, axes: readonly number[], shape: readonly Dim[]): Value {
  return apply("Unsqueeze", [x, int64s(axes)], shape, {}, (dy) => [reshapeLike(dy, x), null]);
}

/** Undoes broadcasting: sums `x` down to `shape`. */
export function sumTo(x: Value, shape: readonly Dim[]): Value {
  const extra = x.shape.length - shape.length;
  const leading = Array.from({ length: extra }, (_, i) => i);
  const stretched = shape.flatMap((d, i) => (d === 1 && x.shape[i + extra] !== 1 ? [i + extra] : []));
  const inner = stretched.length > 0 ? sum(x, stretched, true) : x;
  return leading.length > 0 ? sum(inner, leading) : inner;
}
