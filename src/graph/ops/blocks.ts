import type { DType } from "../../tensor/dtype.ts";
import { uint4s } from "../../tensor/tensor.ts";
import {
  apply,
  compose,
  constant,
  type Dim,
  known,
  type Node,
  scalarConstant,
  storedMatrix,
  type Value,
} from "../value.ts";
import { add, mul, scale, sub } from "./arithmetic.ts";
import { cast } from "./cast.ts";
import { total } from "./loss.ts";
import { matmul } from "./matrix.ts";
import { int64s, sum, unsqueeze } from "./reduce.ts";
import { concat, reshape, split, transpose } from "./shape.ts";

/** A frozen matrix [n, k] in blocks of 32 along its rows, w = scale · (quantum − zero point) + offset. */
export interface BlockMatrix {
  readonly bits: 4 | 8;
  readonly shape: readonly [number, number];
  /** uint8 [n, k/32, 4·bits]; of 4 bits the low half of a byte comes first. */
  readonly quanta: Value;
  /** The same bytes as uint4 or uint8 [n·k/32, 32]. */
  readonly rows: Value;
  /** [n, k/32]; of "half" products float16, as the offsets. */
  readonly scales: Value;
  /** Of 4 bits, two in a byte: uint8 [n, k/64], and as uint4 [n·k/32]; null: the middle, 8 or 128. */
  readonly zeroPoints: { readonly bytes: Value; readonly nibbles: Value } | null;
  /** [k/32, n]; null: none. Of 4 bits, where zero points are the middle. */
  readonly offsets: Value | null;
}

/** How products with blocks are computed. */
export type BlockProducts =
  /** Activations as floats: for training. Where the matrix is formed, it lives for one product only. */
  | "float"
  /** Activations rounded to 8 bits, block by block, as llama.cpp does: for decoding, and where training asks for it. The
   *  gradient is that of the product without rounding (straight through). */
  | "int8"
  /** Activations as floats, and blocks multiplied as they lie. No gradient. */
  | "blocks"
  /** Activations, scales and offsets as halves, sums put out as floats: for GPUs. No gradient. */
  | "half";

/** The operator that multiplies with blocks. Without a packed copy of the blocks it forms the whole matrix at every run. */
export const BLOCK_PRODUCT = "com.microsoft::MatMulNBits";

const BLOCK = 32;
const MIDDLE = 128;
/** The middle of 4 bits, 8, twice in a byte. */
const MIDDLES_4 = 0x88;
/** MatMulNBits' accuracy levels: activations as floats, in 8 bits, and as halves. */
const LEVEL: Readonly<Record<BlockProducts, number>> = { float: 1, int8: 4, blocks: 1, half: 2 };

/** The matrix as a value. `linear` and `gather` read the blocks; anything else forms it. */
export function blockMatrix(m: BlockMatrix, products: BlockProducts): Value {
  const value = storedMatrix(formed(m, m.scales), {
    linear: (x, alpha) => product(m, x, alpha, products),
    stack: (below) => {
      if (products === "float") return null; // each is formed by itself: concatenation takes no 4 bits
      const all = [value, ...below].map((v) => BLOCKS_OF.get(v.node));
      const stacked = stackedBlocks(all.flatMap((own) => own ?? []));
      return stacked && all.every((own) => own !== undefined) ? blockMatrix(stacked, products) : null;
    },
    ...(m.bits === 8 ? { gather: (indices: Value) => rows(m, indices) } : {}),
  });
  BLOCKS_OF.set(value.node, m);
  return value;
}

const BLOCKS_OF = new WeakMap<Node, BlockMatrix>();

/** Matrices below each other, [Σn, k]; null where they are not stored alike. */
function stackedBlocks(matrices: readonly BlockMatrix[]): BlockMatrix | null {
  const [first] = matrices as [BlockMatrix, ...BlockMatrix[]];
  const kindOf = ({ bits, shape, zeroPoints, offsets }: BlockMatrix): string =>
    `${[bits, shape[1], zeroPoints !== null, offsets !== null]}`;
  if (matrices.some((m) => kindOf(m) !== kindOf(first))) return null;
  const along = (axis: number, part: (m: BlockMatrix) => Value | null | undefined): Value | null => {
    const parts = matrices.flatMap((m) => part(m) ?? []);
    return parts.length > 0 ? concat(parts, axis) : null;
  };
  return {
    bits: first.bits,
    shape: [matrices.reduce((n, { shape }) => n + shape[0], 0), first.shape[1]],
    quanta: along(0, (m) => m.quanta) as Value,
    rows: along(0, (m) => m.rows) as Value,
    scales: along(0, (m) => m.scales) as Value,
    zeroPoints: first.zeroPoints && {
      bytes: along(0, (m) => m.zeroPoints?.bytes) as Value,
      nibbles: along(0, (m) => m.zeroPoints?.nibbles) as Value,
    },
    offsets: along(1, (m) => m.offsets),
  };
}

/** [n, k] as floats. */
function formed(m: BlockMatrix, scales: Value): Value {
  const numbers = scaled(m, m.rows, scales);
  if (!m.offsets) return numbers;
  const [n, k] = m.shape;
  const wide = [n, k / BLOCK, BLOCK];
  return reshape(add(reshape(numbers, wide), reshape(transpose(m.offsets, [1, 0]), [n, k / BLOCK, 1])), [
    n,
    k,
  ]);
}

/** scale · (quantum − zero point), [n, k] from `rows` [n·k/32, 32] and `scales` [n, k/32]: those of a part of the matrix, if they
 *  are fewer. */
function scaled({ bits, zeroPoints }: BlockMatrix, rows: Value, scales: Value): Value {
  const [n, blocks] = scales.shape as [number, number];
  const flat = reshape(scales, [n * blocks]);
  const inputs = [rows, flat, zeroPoints?.nibbles ?? middles(bits, n * blocks)];
  const numbers = apply("DequantizeLinear", inputs, [n * blocks, BLOCK], { axis: 0 }, null, "float32");
  return reshape(numbers, [n, blocks * BLOCK]);
}

const MIDDLES = new Map<string, Value>();

/** The middle as zero point of so many blocks: one constant for all matrices of a size. */
function middles(bits: 4 | 8, count: number): Value {
  const key = `${bits} ${count}`;
  const made = MIDDLES.get(key);
  if (made) return made;
  const value =
    bits === 4
      ? constant(uint4s(new Uint8Array(count / 2).fill(MIDDLES_4), [count]))
      : constant({ dtype: "uint8", shape: [count], data: new Uint8Array(count).fill(MIDDLE) });
  MIDDLES.set(key, value);
  return value;
}

/** A matrix of 8 bits is formed in parts of so many rows, where it has more. */
export const FORMED_ROWS = 12_288;

/** The matrix without its offsets, in parts of its rows, formed when `x` is there, so that the runtime neither keeps all
 *  matrices as floats from the start (it computes what depends on nothing when it loads) nor forms them before they are used.
 *  The dependence is on x's size, not on its values: 0 times NaN is NaN. */
function partsFor(m: BlockMatrix, x: Value): readonly Value[] {
  const rows = apply("Shape", [x], [1], { start: 0, end: 1 }, null, "int64");
  const zero = apply("Mul", [rows, int64s([0])], [1], {}, null);
  const late = cast(zero, "float32");
  const parts = rowParts(m);
  if (parts.length === 1) return [scaled(m, m.rows, add(m.scales, late))];
  const blocks = m.shape[1] / BLOCK;
  return parts.map(([from, to]) => {
    const part = (v: Value, perRow: number): Value => {
      const bounds = [
        apply("Add", [int64s([from * perRow]), zero], [1], {}, null),
        int64s([to * perRow]),
        int64s([0]),
      ];
      return apply("Slice", [v, ...bounds], [(to - from) * perRow, ...v.shape.slice(1)], {}, null);
    };
    return scaled(m, part(m.rows, blocks), part(m.scales, 1));
  });
}

/** First row and end of each part. */
function rowParts({ bits, shape: [n] }: BlockMatrix): readonly (readonly [number, number])[] {
  const size = bits === 4 ? n : FORMED_ROWS;
  return Array.from(
    { length: Math.ceil(n / size) },
    (_, i) => [i * size, Math.min(n, (i + 1) * size)] as const,
  );
}

/** alpha · x · Wᵀ; dX = alpha · dY · W, for which the matrix is formed. With float activations the runtime multiplies blocks of
 *  4 bits as fast as floats; of 8 bits it does not. */
function product(m: BlockMatrix, x: Value, alpha: number, products: BlockProducts): Value {
  const isFormed = m.bits === 8 && products === "float";
  const y = isFormed ? formedProduct(m, x, alpha) : blockProduct(m, x, alpha, LEVEL[products]);
  if (products === "half" || products === "blocks") return y;
  const { offsets } = m;
  return compose([x], y, (dy) => {
    const sizes = rowParts(m).map(([from, to]) => to - from);
    const dys = sizes.length > 1 ? split(dy, sizes, dy.shape.length - 1) : [dy];
    const dx = total(partsFor(m, dy).map((w, i) => matmul(dys[i] as Value, w, { alpha })));
    if (!offsets) return [dx];
    const blocks = matmul(dy, offsets, { transB: true, alpha });
    const wide = [...blocks.shape, 1];
    const perBlock = unsqueeze(blocks, [wide.length - 1], wide);
    return [reshape(add(inBlocks(dx), perBlock), dx.shape)];
  });
}

function formedProduct(m: BlockMatrix, x: Value, alpha: number): Value {
  const leading = x.shape.slice(0, -1);
  const attributes = { transA: 0, transB: 1, alpha: { float: alpha } };
  const products = partsFor(m, x).map((w) =>
    apply("com.microsoft::FusedMatMul", [x, w], [...leading, w.shape[0] as Dim], attributes, null),
  );
  return concat(products, leading.length);
}

/** The runtime's product with blocks; offsets are a product of their own, with the sums of x over blocks. */
function blockProduct(m: BlockMatrix, x: Value, alpha: number, level: number): Value {
  const { bits, quanta, scales, zeroPoints, offsets } = m;
  const [n, k] = m.shape;
  const { dtype } = scales;
  const inputs = [as(x, dtype), quanta, scales, ...(zeroPoints ? [zeroPoints.bytes] : [])];
  const attributes = { K: k, N: n, bits, block_size: BLOCK, accuracy_level: level };
  const product = apply(BLOCK_PRODUCT, inputs, [...x.shape.slice(0, -1), n], attributes, null);
  const y = as(product, x.dtype);
  const whole = offsets ? add(y, as(matmul(as(blockSums(x), dtype), offsets), x.dtype)) : y;
  return alpha === 1 ? whole : scale(whole, alpha);
}

/** [..., k] as [..., k/32, 32]. */
function inBlocks(x: Value): Value {
  const k = known(x.shape.at(-1), "blocks");
  return reshape(x, [...x.shape.slice(0, -1), k / BLOCK, BLOCK]);
}

const SUMS = new WeakMap<Value, Value>();

/** Sums over the blocks of each row, [..., k] → [..., k/32]: made once for all products with one input. */
function blockSums(x: Value): Value {
  const made = SUMS.get(x);
  if (made) return made;
  const sums = sum(inBlocks(x), [-1]);
  SUMS.set(x, sums);
  return sums;
}

/** `x` in a type, where it has another. */
function as(x: Value, dtype: DType): Value {
  return x.dtype === dtype ? x : cast(x, dtype);
}

/** Rows [..., k] of an 8-bit matrix. */
function rows({ shape, quanta, scales }: BlockMatrix, indices: Value): Value {
  const blocks = shape[1] / BLOCK;
  const pick = (from: Value, tail: readonly Dim[]): Value =>
    apply("Gather", [from, indices], [...indices.shape, ...tail], { axis: 0 }, null);
  const taken = pick(quanta, [blocks, BLOCK]);
  const numbers = cast(taken, "float32");
  const centred = sub(numbers, scalarConstant(MIDDLE));
  const factors = as(pick(scales, [blocks]), "float32");
  const wide = apply("Unsqueeze", [factors, int64s([-1])], taken.shape.with(-1, 1), {}, null);
  return reshape(mul(centred, wide), [...indices.shape, shape[1]]);
}
