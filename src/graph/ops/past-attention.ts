import { ints } from "../../tensor/tensor.ts";
import { apply, applyMany, constant, type Dim, scalarConstant, type Value } from "../value.ts";
import { softmax } from "./activation.ts";
import { add, scale, sub } from "./arithmetic.ts";
import type { AttentionSizes } from "./attention.ts";
import { matmul } from "./matrix.ts";
import { unsqueeze } from "./reduce.ts";
import { concat, reshape, transpose } from "./shape.ts";

/** Tokens that queries may see: keys and values [R or 1, kvHeads, 1, S, headDim], and an additive mask [R or 1, 1, 1, T or 1, S]. */
export interface KeyBlock {
  readonly keys: Value;
  readonly values: Value;
  readonly mask: Value;
}

/** Which tokens are there: rows hold `lengths` int32 [R] tokens of a cache, and each gets T new ones, `added` int32 [T] from 0. */
export interface PastTokens {
  readonly lengths: Value;
  readonly added: Value;
}

function additive(seen: Value): Value {
  return apply("Where", [seen, scalarConstant(0), scalarConstant(-1e30)], seen.shape, {}, null, "float32");
}

function compare(
  op: "Less" | "LessOrEqual" | "And",
  [a, b]: readonly [Value, Value],
  shape: readonly Dim[],
): Value {
  return apply(op, [a, b], shape, {}, null, "bool");
}

/** What new tokens see of tokens before them, at `columns` int32 [S]: those in use, and under a window those fewer than `window` back.
 *  Columns below 0 are a prefix that stands before every row. */
export function pastMask({ lengths, added }: PastTokens, columns: Value, window: number | null): Value {
  const [rows, length, count] = [lengths, added, columns].map((v) => v.shape[0]) as [Dim, Dim, Dim];
  const column = unsqueeze(columns, [0, 1, 2, 3], [1, 1, 1, 1, count]);
  const held = unsqueeze(lengths, [1, 2, 3, 4], [rows, 1, 1, 1, 1]);
  const there = compare("Less", [column, held], [rows, 1, 1, 1, count]);
  if (window === null) return additive(there);
  const shape = [rows, 1, 1, length, count];
  const query = add(held, unsqueeze(added, [0, 1, 2, 4], [1, 1, 1, length, 1]));
  const size = constant(ints(Int32Array.of(window), []));
  const near = compare("Less", [sub(query, column), size], shape);
  return additive(compare("And", [there, near], shape));
}

/** What new tokens see of each other: those before them and themselves, under a window fewer than `window` back. */
export function freshMask({ added }: PastTokens, window: number | null): Value {
  const length = added.shape[0] as Dim;
  const shape = [1, 1, 1, length, length];
  const query = unsqueeze(added, [0, 1, 2, 4], [1, 1, 1, length, 1]);
  const key = unsqueeze(added, [0, 1, 2, 3], [1, 1, 1, 1, length]);
  const before = compare("LessOrEqual", [key, query], shape);
  if (window === null) return additive(before);
  const size = constant(ints(Int32Array.of(window), []));
  const near = compare("Less", [sub(query, key), size], shape);
  return additive(compare("And", [before, near], shape));
}

/** Keys or values of tokens [R, S, kvHeads·headDim] as blocks have them. */
export function byHead(x: Value, { kvHeadCount, headDim }: AttentionSizes): Value {
  const [rows, count] = x.shape as [Dim, Dim];
  return transpose(reshape(x, [rows, count, kvHeadCount, 1, headDim]), [0, 2, 3, 1, 4]);
}

/** Where the blocks of some masks end, int64 [blocks], known when the graph runs: made once for all layers that share the masks. */
export function blockSizes(masks: readonly Value[]): Value {
  const sizes = masks.map((mask) => apply("Shape", [mask], [1], { start: 4, end: 5 }, null, "int64"));
  return apply("Concat", sizes, [masks.length], { axis: 0 }, null, "int64");
}

/** Grouped-query attention over several blocks under one softmax: q [R, T, heads·headDim] → same. Blocks are only read, so that a cache
 *  need not be copied to add what is new to it. `ends`: `blockSizes` of their masks. Not differentiable.
 *  Query heads of a group have an axis of their own, over which keys and values broadcast, and the scale is a factor on q: for one new
 *  token each product then is a vector by a matrix, which is computed without a packed copy of the matrix. */
export function blockAttention(
  q: Value,
  blocks: readonly KeyBlock[],
  ends: Value,
  sizes: AttentionSizes,
): Value {
  const { headCount, kvHeadCount, headDim, attentionScale = 1 / Math.sqrt(headDim) } = sizes;
  const [rows, length] = q.shape as [Dim, Dim];
  const split = [rows, length, kvHeadCount, headCount / kvHeadCount, headDim];
  const heads = transpose(reshape(scale(q, attentionScale), split), [0, 2, 3, 1, 4]);
  const scores = blocks.map(({ keys, mask }) => add(matmul(heads, keys, { transB: true }), mask));
  const types = scores.map(({ dtype, shape }) => ({ dtype, shape }));
  const shares = applyMany("Split", [softmax(concat(scores, 4)), ends], types, { axis: 4 }, null);
  const mixed = blocks.map(({ values }, i) => matmul(shares[i] as Value, values)).reduce(add);
  return reshape(transpose(mixed, [0, 3, 1, 2, 4]), [rows, length, headCount * headDim]);
}
