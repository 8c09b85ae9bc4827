import { ShapeError } from "../../errors.ts";
import { floats } from "../../tensor/tensor.ts";
import {
  apply,
  applyMany,
  constant,
  type Dim,
  known,
  scalarConstant,
  showShape,
  type Value,
} from "../value.ts";
import { int64s, sumTo } from "./reduce.ts";

/** Same elements in a new shape. A named dimension must stand at the same place in `x`, or be the only one unknown.
 *  @throws ShapeError */
export function reshape(x: Value, shape: readonly Dim[]): Value {
  if (shape.length === x.shape.length && shape.every((d, i) => d === x.shape[i])) return x;
  let free = 0;
  const spec = shape.map((d, i) => {
    if (typeof d === "number") return d;
    if (d === x.shape[i]) return 0; // ONNX: 0 copies the input's dimension
    free++;
    return -1;
  });
  if (free > 1)
    throw new ShapeError(
      `reshape: ${showShape(x.shape)} to ${showShape(shape)} has ${free} unknown dimensions`,
    );
  if ([...x.shape, ...shape].every((d) => typeof d === "number")) {
    const count = (s: readonly Dim[]): number => s.reduce<number>((n, d) => n * (d as number), 1);
    if (count(x.shape) !== count(shape))
      throw new ShapeError(
        `reshape: ${showShape(x.shape)} to ${showShape(shape)} changes the number of elements`,
      );
  }
  return apply("Reshape", [x, int64s(spec)], shape, {}, (dy) => [reshapeLike(dy, x), null]);
}

/** `x` in the shape of `like` (same number of elements), known or not. */
export function reshapeLike(x: Value, like: Value): Value {
  // Better from the shape alone: what `like` holds need not be there any more then.
  const unknown = like.shape.filter((d, i) => typeof d === "string" && d !== x.shape[i]);
  if (unknown.length <= 1) return reshape(x, like.shape);
  return apply("Reshape", [x, shapeOf(like)], like.shape, {}, (dy) => [reshapeLike(dy, x), null]);
}

/** int64 vector of the run-time shape. */
export function shapeOf(x: Value): Value {
  return apply("Shape", [x], [x.shape.length], {}, null, "int64");
}

/** Axes in a new order. */
export function transpose(x: Value, order: readonly number[]): Value {
  const inverse = order.map((_, i) => order.indexOf(i));
  return apply(
    "Transpose",
    [x],
    order.map((a) => x.shape[a] as Dim),
    { perm: order },
    (dy) => [transpose(dy, inverse)],
  );
}

/** Broadcast to the shape of `like`. */
export function expandLike(x: Value, like: Value): Value {
  if (x.shape.length === like.shape.length && x.shape.every((d, i) => d === like.shape[i])) return x;
  const known = like.shape.every((d) => typeof d === "number");
  const shape = known ? int64s(like.shape as number[]) : shapeOf(like);
  return apply("Expand", [x, shape], like.shape, {}, (dy) => [sumTo(dy, x.shape), null]);
}

function filled(like: Value, value: number): Value {
  if (like.shape.length === 0) return scalarConstant(value);
  return expandLike(
    constant(
      floats(
        Float32Array.of(value),
        like.shape.map(() => 1),
      ),
    ),
    like,
  );
}

/** Zeros in the shape of `like`. */
export function zeros(like: Value): Value {
  return filled(like, 0);
}

/** Ones in the shape of `like`. */
export function ones(like: Value): Value {
  return filled(like, 1);
}

/** Cut into pieces of the given sizes along `axis`. @throws ShapeError if the sizes do not add up. */
export function split(x: Value, sizes: readonly number[], axis: number): readonly Value[] {
  const total = sizes.reduce((a, b) => a + b, 0);
  if (x.shape[axis] !== total)
    throw new ShapeError(`split: axis ${axis} of ${showShape(x.shape)} is not the sum of sizes, ${total}`);
  const types = sizes.map((size) => ({ dtype: x.dtype, shape: x.shape.with(axis, size) }));
  const pieces: readonly Value[] = applyMany("Split", [x, int64s(sizes)], types, { axis }, (dys) => [
    concat(
      dys.map((dy, i) => dy ?? zeros(pieces[i] as Value)),
      axis,
    ),
    null,
  ]);
  return pieces;
}

/** `count` parts of equal size along `axis`, of which a named size must be a multiple. */
export function splitEvenly(x: Value, count: number, axis: number): readonly Value[] {
  if (count === 1) return [x];
  const size = x.shape[axis] as Dim;
  if (typeof size === "number" && size % count !== 0)
    throw new ShapeError(`splitEvenly: axis ${axis} of ${showShape(x.shape)} is no multiple of ${count}`);
  const part = partDim(count, size);
  const types = Array.from({ length: count }, () => ({ dtype: x.dtype, shape: x.shape.with(axis, part) }));
  const pieces: readonly Value[] = applyMany("Split", [x], types, { axis, num_outputs: count }, (dys) => [
    concat(
      dys.map((dy, i) => dy ?? zeros(pieces[i] as Value)),
      axis,
    ),
  ]);
  return pieces;
}

/** n copies of a named dimension T are called n·T, as `repeatDim` calls them. */
function joinedSize(dims: readonly Dim[]): Dim {
  if (dims.every((d) => typeof d === "number")) return dims.reduce<number>((a, b) => a + (b as number), 0);
  const [first] = dims as [Dim, ...Dim[]];
  if (!dims.every((d) => d === first)) return dims.join("+");
  return repeatDim(dims.length, first);
}

/** The dimension of `count` copies of `dim` laid end to end; of n parts T/n it is T again. */
export function repeatDim(count: number, dim: Dim): Dim {
  if (typeof dim === "number") return count * dim;
  if (dim.endsWith(`/${count}`)) return dim.slice(0, dim.lastIndexOf("/"));
  return count === 1 ? dim : `${count}·${dim}`;
}

/** The dimension of one of `count` equal parts of `dim`: `repeatDim` undone. */
function partDim(count: number, dim: Dim): Dim {
  if (typeof dim === "number") return dim / count;
  return dim.startsWith(`${count}·`) ? dim.slice(dim.indexOf("·") + 1) : `${dim}/${count}`;
}

/** Joined along `axis`. The gradient needs the sizes along it known, all but the last. */
export function concat(xs: readonly Value[], axis: number): Value {
  const first = xs[0];
  if (!first) throw new ShapeError("concat: expected at least one value, got none");
  if (xs.length === 1) return first;
  const dims = xs.map((x) => x.shape[axis] as Dim);
  const total = joinedSize(dims);
  return apply("Concat", xs, first.shape.with(axis, total), { axis }, (dy) => {
    if (dims.every((d) => d === dims[0])) return splitEvenly(dy, dims.length, axis);
    const sizes = dims.slice(0, -1).map((d) => known(d, "gradient of concat"));
    const last = dims.at(-1) as Dim;
    if (typeof last === "number") return split(dy, [...sizes, last], axis);
    const starts = sizes.map((_, i) => sizes.slice(0, i).reduce((a, b) => a + b, 0));
    const leading = sizes.map((size, i) =>
      cut(dy, axis, starts[i] as number, (starts[i] as number) + size, size),
    );
    const from = sizes.reduce((a, b) => a + b, 0);
    return [...leading, cut(dy, axis, from, Number.MAX_SAFE_INTEGER, last)];
  });
}

/** Elements [start, end) along `axis`, of the size `size`; not differentiable. */
function cut(x: Value, axis: number, start: number, end: number, size: Dim): Value {
  const bounds = [start, end, axis].map((n) => int64s([n]));
  return apply("Slice", [x, ...bounds], x.shape.with(axis, size), {}, null);
}

/** Elements [start, end) along `axis`, whose size must be known for the gradient. */
export function slice(x: Value, axis: number, start: number, end: number): Value {
  const size = x.shape[axis] as Dim;
  const inputs = [x, int64s([start]), int64s([end]), int64s([axis])];
  return apply("Slice", inputs, x.shape.with(axis, end - start), {}, (dy) => {
    const n = known(size, "gradient of slice");
    const around = [
      [0, start],
      [end, n],
    ].map(([a, b]) =>
      (b as number) > (a as number) ? zeros(slice(x, axis, a as number, b as number)) : null,
    );
    const parts = [around[0] ?? null, dy, around[1] ?? null].filter((v) => v !== null);
    return [concat(parts, axis), null, null, null];
  });
}
