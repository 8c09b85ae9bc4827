import { apply, compose, type Dim, scalarConstant, type Value } from "../value.ts";
import { sub } from "./arithmetic.ts";
import type { TrieTokens } from "./attention.ts";
import { cast } from "./cast.ts";
import { int32s, int64s, sum, unsqueeze } from "./reduce.ts";
import { concat, shapeOf } from "./shape.ts";

/** The tokens that all examples of a packed batch begin with: the first P of its first row, which the other rows see too. */
export interface Stem {
  /** Their columns, int32 [P]. */
  readonly columns: Value;
  /** Indices of the batch's rows, int32 [R]. */
  readonly rows: Value;
  /** P, int64 [1]. */
  readonly size: Value;
  /** End of the stem in [R, T, …], int64 [2]: row 1, column P. */
  readonly end: Value;
  /** [R, 1, 1], int64 [3]. */
  readonly repeats: Value;
  /** What is missing around [1, P, w] in [R, T, w], as Pad takes it, int64 [6]. */
  readonly pads: Value;
}

const FIRST = int64s([0]);
const LAST = int64s([Number.MAX_SAFE_INTEGER]);

/** The stem of a batch of tokens: columns int32 [P], rows int32 [R], ends int32 [R, T]. */
export function stemOf(columns: Value, rows: Value, ends: Value): Stem {
  const size = shapeOf(columns);
  const end = concat([int64s([1]), size], 0);
  const missing = apply("Sub", [shapeOf(ends), end], [2], {}, null);
  const pads = concat([int64s([0, 0, 0]), missing, FIRST], 0);
  return { columns, rows, size, end, repeats: concat([shapeOf(rows), int64s([1, 1])], 0), pads };
}

/** Keys or values of the stem for every row: x [R, T, w] → [R, P, w]. */
export function stemRows(x: Value, stem: Stem): Value {
  const [rows, , width] = x.shape as [Dim, Dim, Dim];
  const count = stem.columns.shape[0] as Dim;
  const own = cut(x, [int64s([0, 0]), stem.end, int64s([0, 1])], [1, count, width]);
  const body = apply("Expand", [own, stem.repeats], [rows, count, width], {}, null);
  return compose([x], body, (dy) => [
    apply("Pad", [sum(dy, [0], true), stem.pads, scalarConstant(0)], x.shape, { mode: "constant" }, null),
  ]);
}

/** `front` [R, P, w] before `x` [R, S, w] → [R, P+S, w]. */
export function behindStem(front: Value, x: Value, { size }: Stem): Value {
  const axis = int64s([1]);
  return compose([front, x], concat([front, x], 1), (dy) => [
    cut(dy, [FIRST, size, axis], front.shape),
    cut(dy, [size, LAST, axis], x.shape),
  ]);
}

function cut(x: Value, bounds: readonly [Value, Value, Value], shape: readonly Dim[]): Value {
  return apply("Slice", [x, ...bounds], shape, {}, null);
}

/** `mask` [R, 1, T, S] with columns for the stem in front: every row but the first, which has it among its own tokens, sees
 *  those that come before a query (and fewer than `window` positions back). queries [R, T] → [R, 1, T, P+S]. */
export function stemMask(mask: Value, stem: Stem, queries: TrieTokens, window: number | null): Value {
  const [rows, , length] = mask.shape as [Dim, Dim, Dim];
  const count = stem.columns.shape[0] as Dim;
  const to = unsqueeze(stem.columns, [0, 1, 2], [1, 1, 1, count]);
  const from = unsqueeze(queries.positions, [1, 3], [rows, 1, length, 1]);
  const shape = [rows, 1, length, count];
  const both = (a: Value, b: Value): Value => apply("And", [a, b], shape, {}, null, "bool");
  const first = unsqueeze(stem.rows, [1, 2, 3], [rows, 1, 1, 1]);
  const others = cast(first, "bool");
  const before = apply("LessOrEqual", [to, from], shape, {}, null, "bool");
  const near =
    window === null
      ? before
      : both(before, apply("Less", [sub(from, to), int32s([window])], shape, {}, null, "bool"));
  const front = apply(
    "Where",
    [both(others, near), scalarConstant(0), scalarConstant(-1e30)],
    shape,
    {},
    null,
    "float32",
  );
  return concat([front, mask], 3);
}
