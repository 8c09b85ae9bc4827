import { floats } from "../../tensor/tensor.ts";
import { apply, constant, type Dim, scalarConstant, storedMatrix, type Value } from "../value.ts";
import { add, mul, scale, sub } from "./arithmetic.ts";
import { matmul } from "./matrix.ts";
import { int64s } from "./reduce.ts";
import { reshape, transpose } from "./shape.ts";

/** A frozen matrix [n, k] in blocks of 32 along its rows, w = scale · (quantum − zero point) + offset. */
export interface BlockMatrix {
  readonly bits: 4 | 8;
  readonly shape: readonly [number, number];
  /** uint8 [n, k/32, 4·bits]; of 4 bits the low half of a byte comes first. */
  readonly quanta: Value;
  /** The same bytes as uint4 [n, k], for 4 bits. */
  readonly nibbles: Value | null;
  /** [n, k/32] */
  readonly scales: Value;
  /** Of 4 bits, two in a byte: uint8 [n, k/64], and as uint4 [n, k/32]; null: the middle, 8 or 128. */
  readonly zeroPoints: { readonly bytes: Value; readonly nibbles: Value } | null;
  /** [k/32, n]; null: none. Of 4 bits, where zero points are the middle. */
  readonly offsets: Value | null;
}

/** How products with blocks are computed. */
export type BlockProducts =
  /** Activations as floats, against the formed matrix, which lives for one product only: for training. */
  | "float"
  /** Activations rounded to 8 bits, block by block, as llama.cpp does: for decoding. No gradient. */
  | "int8";

const BLOCK = 32;
const MIDDLE = 128;
const MIDDLE_4 = 8;
/** ONNX's number of float32, for Cast. */
const FLOAT = 1;
/** MatMulNBits' accuracy level with 8-bit activations. */
const INT8_LEVEL = 4;

/** The matrix as a value. `linear` and `gather` read the blocks; anything else forms it. */
export function blockMatrix(m: BlockMatrix, products: BlockProducts): Value {
  const product = products === "float" ? floatProduct : int8Product;
  return storedMatrix(formed(m, m.scales), {
    linear: (x, alpha) => product(m, x, alpha),
    ...(m.bits === 8 ? { gather: (indices: Value) => rows(m, indices) } : {}),
  });
}

/** [n, k] as floats. */
function formed({ bits, shape, quanta, nibbles, zeroPoints, offsets }: BlockMatrix, scales: Value): Value {
  const [n, k] = shape;
  const blocks = k / BLOCK;
  const wide = (x: Value): Value => reshape(x, [n, blocks, 1]);
  if (bits === 8) {
    const numbers = apply("Cast", [quanta], [n, blocks, BLOCK], { to: FLOAT }, null, "float32");
    return reshape(mul(sub(numbers, scalarConstant(MIDDLE)), wide(scales)), [n, k]);
  }
  const inputs = [nibbles, scales, ...(zeroPoints ? [zeroPoints.nibbles] : [])];
  const numbers = apply("DequantizeLinear", inputs, shape, { axis: 1, block_size: BLOCK }, null, "float32");
  if (!offsets) return numbers;
  const lowest = sub(transpose(offsets, [1, 0]), scale(scales, MIDDLE_4));
  return reshape(add(reshape(numbers, [n, blocks, BLOCK]), wide(lowest)), [n, k]);
}

/** `formed` when `x` is there, so that the runtime neither keeps all matrices as floats from the start (it computes what
 *  depends on nothing when it loads) nor forms them before they are used. The dependence is on x's size, not on its values:
 *  0 times NaN is NaN. */
function formedFor(m: BlockMatrix, x: Value): Value {
  const rows = apply("Shape", [x], [1], { start: 0, end: 1 }, null, "int64");
  const zero = apply("Mul", [rows, int64s([0])], [1], {}, null);
  const scales = add(m.scales, apply("Cast", [zero], [1], { to: FLOAT }, null, "float32"));
  if (m.bits === 4) return formed(m, scales);
  const shape = apply("Add", [int64s(m.quanta.shape as readonly number[]), zero], [3], {}, null);
  return formed({ ...m, quanta: apply("Reshape", [m.quanta, shape], m.quanta.shape, {}, null) }, scales);
}

/** alpha · x · Wᵀ; dX = alpha · dY · W. The matrix is formed once in each direction: holding it would take what blocks save. */
function floatProduct(m: BlockMatrix, x: Value, alpha: number): Value {
  const w = formedFor(m, x);
  const shape = [...x.shape.slice(0, -1), m.shape[0] as Dim];
  const attributes = { transA: 0, transB: 1, alpha: { float: alpha } };
  return apply("com.microsoft::FusedMatMul", [x, w], shape, attributes, (dy) => [
    matmul(dy, formedFor(m, dy), { alpha }),
    null,
  ]);
}

function int8Product(m: BlockMatrix, x: Value, alpha: number): Value {
  const { bits, quanta, scales, zeroPoints, offsets } = m;
  const [n, k] = m.shape;
  const inputs = [x, quanta, scales, ...(zeroPoints ? [zeroPoints.bytes] : [])];
  const attributes = { K: k, N: n, bits, block_size: BLOCK, accuracy_level: INT8_LEVEL };
  const y = apply("com.microsoft::MatMulNBits", inputs, [...x.shape.slice(0, -1), n], attributes, null);
  const whole = offsets ? add(y, matmul(matmul(x, blockSums(k)), offsets)) : y;
  return alpha === 1 ? whole : scale(whole, alpha);
}

const SUMS = new Map<number, Value>();

/** The matrix [k, k/32] by which a row's blocks are summed: one for all products, so that the runtime finds those of one
 *  input equal. */
function blockSums(k: number): Value {
  const made = SUMS.get(k);
  if (made) return made;
  const blocks = k / BLOCK;
  const data = new Float32Array(k * blocks);
  for (let i = 0; i < k; i++) data[i * blocks + Math.floor(i / BLOCK)] = 1;
  const value = constant(floats(data, [k, blocks]));
  SUMS.set(k, value);
  return value;
}

/** Rows [..., k] of an 8-bit matrix. */
function rows({ shape, quanta, scales }: BlockMatrix, indices: Value): Value {
  const blocks = shape[1] / BLOCK;
  const pick = (from: Value, tail: readonly Dim[]): Value =>
    apply("Gather", [from, indices], [...indices.shape, ...tail], { axis: 0 }, null);
  const taken = pick(quanta, [blocks, BLOCK]);
  const numbers = apply("Cast", [taken], taken.shape, { to: FLOAT }, null, "float32");
  const centred = sub(numbers, scalarConstant(MIDDLE));
  const wide = apply("Unsqueeze", [pick(scales, [blocks]), int64s([-1])], taken.shape.with(-1, 1), {}, null);
  return reshape(mul(centred, wide), [...indices.shape, shape[1]]);
}
