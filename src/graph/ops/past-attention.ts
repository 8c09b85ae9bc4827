import { ints } from "../../tensor/tensor.ts";
import { apply, applyMany, constant, type Dim, scalarConstant, type Value } from "../value.ts";
import { softmax } from "./activation.ts";
import { add, sub } from "./arithmetic.ts";
import { type AttentionSizes, groupMask } from "./attention.ts";
import { matmul } from "./matrix.ts";
import { unsqueeze } from "./reduce.ts";
import { concat, repeatDim, reshape, transpose } from "./shape.ts";

/** Tokens that queries may see: keys and values [R or 1, kvHeads, S, headDim], and an additive mask [R or 1, 1, T's or 1, S], T's
 *  being group·T. */
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
export function pastMask(
  { lengths, added }: PastTokens,
  columns: Value,
  sizes: AttentionSizes,
  window: number | null,
): Value {
  const [rows, length, count] = [lengths, added, columns].map((v) => v.shape[0]) as [Dim, Dim, Dim];
  const column = unsqueeze(columns, [0, 1, 2], [1, 1, 1, count]);
  const held = unsqueeze(lengths, [1, 2, 3], [rows, 1, 1, 1]);
  const there = compare("Less", [column, held], [rows, 1, 1, count]);
  if (window === null) return additive(there);
  const shape = [rows, 1, length, count];
  const query = add(held, unsqueeze(added, [0, 1, 3], [1, 1, length, 1]));
  const size = constant(ints(Int32Array.of(window), []));
  const near = compare("Less", [sub(query, column), size], shape);
  return groupMask(additive(compare("And", [there, near], shape)), sizes);
}

/** What new tokens see of each other: those before them and themselves, under a window fewer than `window` back. */
export function freshMask({ added }: PastTokens, sizes: AttentionSizes, window: number | null): Value {
  const length = added.shape[0] as Dim;
  const shape = [1, 1, length, length];
  const query = unsqueeze(added, [0, 1, 3], [1, 1, length, 1]);
  const key = unsqueeze(added, [0, 1, 2], [1, 1, 1, length]);
  const before = compare("LessOrEqual", [key, query], shape);
  if (window === null) return groupMask(additive(before), sizes);
  const size = constant(ints(Int32Array.of(window), []));
  const near = compare("Less", [sub(query, key), size], shape);
  return groupMask(additive(compare("And", [before, near], shape)), sizes);
}

/** Keys or values of tokens [R, S, kvHeads·headDim] as blocks have them. */
export function byHead(x: Value, { kvHeadCount, headDim }: AttentionSizes): Value {
  const [rows, count] = x.shape as [Dim, Dim];
  return transpose(reshape(x, [rows, count, kvHeadCount, headDim]), [0, 2, 1, 3]);
}

/** Where the blocks of some masks end, int64 [blocks], known when the graph runs: made once for all layers that share the masks. */
export function blockSizes(masks: readonly Value[]): Value {
  const sizes = masks.map((mask) => apply("Shape", [mask], [1], { start: 3, end: 4 }, null, "int64"));
  return apply("Concat", sizes, [masks.length], { axis: 0 }, null, "int64");
}

/** Grouped-query attention over several blocks under one softmax: q [R, T, heads·headDim] → same. Blocks are only read, so that a cache
 *  need not be copied to add what is new to it. `ends`: `blockSizes` of their masks. Not differentiable. */
export function blockAttention(
  q: Value,
  blocks: readonly KeyBlock[],
  ends: Value,
  sizes: AttentionSizes,
): Value {
  const { headCount, kvHeadCount, headDim, attentionScale: alpha = 1 / Math.sqrt(headDim) } = sizes;
  const [rows, length] = q.shape as [Dim, Dim];
  const tall = repeatDim(headCount / kvHeadCount, length);
  const heads = transpose(reshape(q, [rows, length, headCount, headDim]), [0, 2, 1, 3]);
  const grouped = reshape(heads, [rows, kvHeadCount, tall, headDim]);
  const scores = blocks.map(({ keys, mask }) => add(matmul(grouped, keys, { transB: true, alpha }), mask));
  const types = scores.map(({ dtype, shape }) => ({ dtype, shape }));
  const shares = applyMany("Split", [softmax(concat(scores, 3)), ends], types, { axis: 3 }, null);
  const mixed = blocks.map(({ values }, i) => matmul(shares[i] as Value, values)).reduce(add);
  const apart = reshape(mixed, [rows, headCount, length, headDim]);
  return reshape(transpose(apart, [0, 2, 1, 3]), [rows, length, headCount * headDim]);
}
