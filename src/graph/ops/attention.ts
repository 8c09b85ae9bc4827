import { ShapeError } from "../../errors.ts";
import { floats } from "../../tensor/tensor.ts";
import { apply, constant, type Dim, known, scalarConstant, showShape, type Value } from "../value.ts";
import { softmax } from "./activation.ts";
import { add, sub } from "./arithmetic.ts";
import { toInt64 } from "./gather.ts";
import { matmul } from "./matrix.ts";
import { int32s, int64s, unsqueeze } from "./reduce.ts";
import { concat, repeatDim, reshape, transpose } from "./shape.ts";

/** cos and sin of every position × frequency, constants [positions, headDim / 2], and −sin for the way back. */
export interface RotaryTables {
  readonly cos: Value;
  readonly sin: Value;
  readonly negativeSin: Value;
}

/** Tables of a graph from host arrays [positions · halfDim]: made once, used by every layer. */
export function rotaryConstants(cos: Float32Array, sin: Float32Array, halfDim: number): RotaryTables {
  const table = (data: Float32Array): Value => constant(floats(data, [data.length / halfDim, halfDim]));
  return { cos: table(cos), sin: table(sin), negativeSin: table(sin.map((s) => -s)) };
}

/** Rotary position embedding, rotate-half form (Su et al. 2021): x [R, T, heads·headDim], positions int32 [R, T].
 *  The gradient is the rotation by the opposite angle. */
export function rotary(x: Value, positions: Value, tables: RotaryTables): Value {
  const headDim = 2 * known(tables.cos.shape[1], "rotary");
  if (known(x.shape[2], "rotary") % headDim !== 0)
    throw new ShapeError(`rotary: ${showShape(x.shape)} is not a multiple of headDim ${headDim}`);
  const inputs = [x, toInt64(positions), tables.cos, tables.sin];
  const back = { cos: tables.cos, sin: tables.negativeSin, negativeSin: tables.sin };
  return apply("com.microsoft::RotaryEmbedding", inputs, x.shape, {}, (dy) => [
    rotary(dy, positions, back),
    null,
    null,
    null,
  ]);
}

/** Some tokens of a packed trie. */
export interface TrieTokens {
  /** Their places in the row, int32 [T]. */
  readonly columns: Value;
  /** Ends of their subtrees, int32 [R, T]. */
  readonly ends: Value;
  /** int32 [R, T]. */
  readonly positions: Value;
}

/** Additive attention mask of a packed trie: 0 where token i may see token j (j ≤ i < ends[j], and fewer than `window`
 *  positions back), −10³⁰ elsewhere. `queries` i [R, T], `keys` j [R, S] → [R, 1, T, S]. */
export function trieMask(queries: TrieTokens, keys: TrieTokens, window: number | null = null): Value {
  const [rows, keyCount] = keys.ends.shape as [Dim, Dim];
  const length = queries.columns.shape[0] as Dim;
  const i = unsqueeze(queries.columns, [0, 1, 3], [1, 1, length, 1]);
  const j = unsqueeze(keys.columns, [0, 1, 2], [1, 1, 1, keyCount]);
  const end = unsqueeze(keys.ends, [1, 2], [rows, 1, 1, keyCount]);
  const shape = [rows, 1, length, keyCount];
  const causal = apply("LessOrEqual", [j, i], [1, 1, length, keyCount], {}, null, "bool");
  const inside = apply("Less", [i, end], shape, {}, null, "bool");
  let seen = apply("And", [causal, inside], shape, {}, null, "bool");
  if (window !== null) {
    const from = unsqueeze(queries.positions, [1, 3], [rows, 1, length, 1]);
    const to = unsqueeze(keys.positions, [1, 2], [rows, 1, 1, keyCount]);
    const near = apply("Less", [sub(from, to), int32s([window])], shape, {}, null, "bool");
    seen = apply("And", [seen, near], shape, {}, null, "bool");
  }
  return apply("Where", [seen, scalarConstant(0), scalarConstant(-1e30)], shape, {}, null, "float32");
}

/** Additive attention mask of packed sequences that see all of themselves and nothing of each other: 0 where tokens have the
 *  same end, −10³⁰ elsewhere. ends int32 [R, T], one number for all tokens of a sequence → [R, 1, T, T]. */
export function sequenceMask(ends: Value): Value {
  const [rows, length] = ends.shape as [Dim, Dim];
  const i = unsqueeze(ends, [1, 3], [rows, 1, length, 1]);
  const j = unsqueeze(ends, [1, 2], [rows, 1, 1, length]);
  const shape = [rows, 1, length, length];
  const same = apply("Equal", [i, j], shape, {}, null, "bool");
  return apply("Where", [same, scalarConstant(0), scalarConstant(-1e30)], shape, {}, null, "float32");
}

/** `mask` [R, 1, T, S] with `count` columns in front that every query sees: [R, 1, T, size], size being count+S. */
export function openColumns(mask: Value, count: number, size: Dim): Value {
  const pads = int64s([0, 0, 0, count, 0, 0, 0, 0]);
  return apply("Pad", [mask, pads, scalarConstant(0)], mask.shape.with(3, size), { mode: "constant" }, null);
}

/** `mask` [R, 1, T, S] with `count` columns in front, those of a prefix that stands before the sequence: a query sees those
 *  fewer than `window` positions back. positions int32 [R, T] without the prefix → [R, 1, T, size], size being count+S. */
export function prefixColumns(
  mask: Value,
  count: number,
  size: Dim,
  window: { readonly size: number; readonly positions: Value },
): Value {
  const [rows, , length] = mask.shape as [Dim, Dim, Dim];
  const from = unsqueeze(window.positions, [1, 3], [rows, 1, length, 1]);
  const to = int32s(Array.from({ length: count }, (_, c) => c - count));
  const shape = [rows, 1, length, count];
  const near = apply("Less", [sub(from, to), int32s([window.size])], shape, {}, null, "bool");
  const front = apply("Where", [near, scalarConstant(0), scalarConstant(-1e30)], shape, {}, null, "float32");
  return apply("Concat", [front, mask], mask.shape.with(3, size), { axis: 3 }, null);
}

/** Sizes of a grouped-query attention. */
export interface AttentionSizes {
  readonly headCount: number;
  readonly kvHeadCount: number;
  readonly headDim: number;
  /** Factor on q·kᵀ; 1/√headDim where it is missing. */
  readonly attentionScale?: number;
}

/** `mask` [R, 1, T, S] stacked once per query head of a group: [R, 1, group·T, S]. Computed once, used by every layer. */
export function groupMask(mask: Value, { headCount, kvHeadCount }: AttentionSizes): Value {
  return concat(
    Array.from({ length: headCount / kvHeadCount }, () => mask),
    2,
  );
}

/** softmax(s·q·kᵀ + mask)·v, s = 1/√headDim, with grouped heads (Ainslie et al. 2023): q [R, T, heads·headDim],
 *  k and v [R, S, kvHeads·headDim], mask from `groupMask` → [R, T, heads·headDim]. */
export function attention(q: Value, k: Value, v: Value, mask: Value, sizes: AttentionSizes): Value {
  return headAttention(q, { keys: splitHeads(k, sizes), values: splitHeads(v, sizes) }, mask, sizes);
}

/** Keys or values [R, S, kvHeads·headDim] by head: [R, kvHeads, S, headDim]. */
export function splitHeads(x: Value, { kvHeadCount, headDim }: AttentionSizes): Value {
  const [rows, count] = x.shape as [Dim, Dim];
  return transpose(reshape(x, [rows, count, kvHeadCount, headDim]), [0, 2, 1, 3]);
}

/** `attention` over keys and values [R, kvHeads, S, headDim]. A group's query heads are stacked along the rows, so keys and values
 *  are not repeated. */
export function headAttention(
  q: Value,
  { keys, values }: { readonly keys: Value; readonly values: Value },
  mask: Value,
  sizes: AttentionSizes,
): Value {
  const { headCount, kvHeadCount, headDim, attentionScale: alpha = 1 / Math.sqrt(headDim) } = sizes;
  const [rows, length] = q.shape as [Dim, Dim];
  const tall = repeatDim(headCount / kvHeadCount, length);
  const heads = transpose(reshape(q, [rows, length, headCount, headDim]), [0, 2, 1, 3]);
  const grouped = reshape(heads, [rows, kvHeadCount, tall, headDim]);
  const scores = matmul(grouped, keys, { transB: true, alpha });
  const mixed = matmul(softmax(add(scores, mask)), values);
  const apart = reshape(mixed, [rows, headCount, length, headDim]);
  return reshape(transpose(apart, [0, 2, 1, 3]), [rows, length, headCount * headDim]);
}
