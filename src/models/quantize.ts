/** Bits that a quantized weight is kept in. */
export type QuantizedBits = 4 | 8;

/** Elements that share a scale: 32 neighbours of a row, as GGUF's simple types have it. */
export const BLOCK_SIZE = 32;

/** How the 16 steps of a block lie. */
export type Steps =
  /** Zero is one of them: x = scale · (quantum − zero point). */
  | "zero"
  /** From the least value to the largest: x = scale · (quantum − 8) + offset, which keeps GGUF's Q4_1 as it is. */
  | "range";

/** Rows [n, k] in blocks, laid out as ONNX Runtime's MatMulNBits takes them. */
export interface QuantizedRows {
  /** [n, k·bits/8]; of 4 bits the low half of a byte comes first. */
  readonly quanta: Uint8Array;
  /** [n, k/32] */
  readonly scales: Float32Array;
  /** [n, k/64], two in a byte, for 4 bits with zero among the steps; else the zero point is the middle, 8 or 128. */
  readonly zeroPoints: Uint8Array | null;
  /** [n, k/32], added to every value of a block, for "range". */
  readonly offsets: Float32Array | null;
}

/** Zero point of 8-bit quanta, which are symmetric, and of 4-bit quanta with offsets. */
const MIDDLE = 128;
const MIDDLE4 = 8;

/** Rounds rows to blocks. 8 bits: symmetric, scale max|x|/127, which keeps GGUF's Q8_0 as it is. 4 bits with "zero": the
 *  scale and zero point with the least squared error of several, among them those that keep GGUF's Q4_0 as it is. The
 *  length must be a multiple of 64. */
export function quantizeRows(
  values: Float32Array,
  bits: QuantizedBits,
  steps: Steps = "zero",
): QuantizedRows {
  if (bits === 8) return quantize8(values);
  return steps === "range" ? quantizeRange(values) : quantize4(values);
}

function quantize8(values: Float32Array): QuantizedRows {
  const quanta = new Uint8Array(values.length);
  const scales = new Float32Array(values.length / BLOCK_SIZE);
  for (let b = 0; b < scales.length; b++) {
    const at = b * BLOCK_SIZE;
    let largest = 0;
    for (let i = at; i < at + BLOCK_SIZE; i++) largest = Math.max(largest, Math.abs(values[i] as number));
    const scale = Math.fround(largest / 127);
    const inverse = scale > 0 ? 1 / scale : 0;
    scales[b] = scale;
    for (let i = at; i < at + BLOCK_SIZE; i++) {
      const q = Math.round((values[i] as number) * inverse);
      quanta[i] = MIDDLE + Math.max(-127, Math.min(127, q));
    }
  }
  return { quanta, scales, zeroPoints: null, offsets: null };
}

function quantize4(values: Float32Array): QuantizedRows {
  const quanta = new Uint8Array(values.length / 2);
  const scales = new Float32Array(values.length / BLOCK_SIZE);
  const zeroPoints = new Uint8Array(scales.length / 2);
  for (let b = 0; b < scales.length; b++) {
    const at = b * BLOCK_SIZE;
    const { scale, zero } = bestGrid(values, at);
    const inverse = scale === 0 ? 0 : 1 / scale;
    scales[b] = scale;
    zeroPoints[b >> 1] = (zeroPoints[b >> 1] as number) | (zero << (4 * (b & 1)));
    for (let i = 0; i < BLOCK_SIZE; i += 2) {
      const low = quantum(values[at + i] as number, inverse, zero);
      const high = quantum(values[at + i + 1] as number, inverse, zero);
      quanta[(at + i) >> 1] = low | (high << 4);
    }
  }
  return { quanta, scales, zeroPoints, offsets: null };
}

function quantizeRange(values: Float32Array): QuantizedRows {
  const quanta = new Uint8Array(values.length / 2);
  const scales = new Float32Array(values.length / BLOCK_SIZE);
  const offsets = new Float32Array(scales.length);
  for (let b = 0; b < scales.length; b++) {
    const block = values.subarray(b * BLOCK_SIZE, (b + 1) * BLOCK_SIZE);
    const low = Math.min(...block);
    const scale = Math.fround((Math.max(...block) - low) / 15);
    const inverse = scale === 0 ? 0 : 1 / scale;
    scales[b] = scale;
    offsets[b] = low + MIDDLE4 * scale;
    for (let i = 0; i < BLOCK_SIZE; i += 2) {
      const [first, second] = [(block[i] as number) - low, (block[i + 1] as number) - low];
      quanta[(b * BLOCK_SIZE + i) >> 1] = quantum(first, inverse, 0) | (quantum(second, inverse, 0) << 4);
    }
  }
  return { quanta, scales, zeroPoints: null, offsets };
}

function quantum(x: number, inverse: number, zero: number): number {
  const q = Math.round(x * inverse) + zero;
  return q < 0 ? 0 : q > 15 ? 15 : q;
}

interface Grid {
  readonly scale: number;
  readonly zero: number;
}

/** Shares of the block's range that the 16 steps are tried over: cutting the ends off a little may fit the rest better. */
const RANGES = [1, 0.92, 0.84];

/** Scale and zero point for the 32 values from `at` on. */
function bestGrid(values: Float32Array, at: number): Grid {
  let [low, high] = [0, 0];
  for (let i = at; i < at + BLOCK_SIZE; i++) {
    const x = values[i] as number;
    if (x < low) low = x;
    if (x > high) high = x;
  }
  if (low === high) return { scale: 0, zero: 0 };
  // Q4_0: the value largest in size is quantum 0 of zero point 8.
  let best: Grid = { scale: Math.fround((-low > high ? low : high) / -8), zero: 8 };
  let least = gridError(values, at, best);
  const middle = Math.round((-low * 15) / (high - low));
  for (const range of RANGES)
    for (let zero = Math.max(0, middle - 1); zero <= Math.min(15, middle + 1); zero++) {
      if (least === 0) return best;
      const reach = Math.max(zero > 0 ? -low / zero : 0, zero < 15 ? high / (15 - zero) : 0);
      const grid = { scale: fittedScale(values, at, { scale: reach * range, zero }), zero };
      const error = gridError(values, at, grid);
      if (error < least) [best, least] = [grid, error];
    }
  return best;
}

/** The scale that fits best (least squares) where the quanta are those of `grid`. */
function fittedScale(values: Float32Array, at: number, { scale, zero }: Grid): number {
  const inverse = 1 / scale;
  let [product, square] = [0, 0];
  for (let i = at; i < at + BLOCK_SIZE; i++) {
    const x = values[i] as number;
    const q = quantum(x, inverse, zero) - zero;
    product += x * q;
    square += q * q;
  }
  return Math.fround(square > 0 ? product / square : scale);
}

function gridError(values: Float32Array, at: number, { scale, zero }: Grid): number {
  const inverse = scale === 0 ? 0 : 1 / scale;
  let sum = 0;
  for (let i = at; i < at + BLOCK_SIZE; i++) {
    const x = values[i] as number;
    const off = x - Math.fround(scale * (quantum(x, inverse, zero) - zero));
    sum += off * off;
  }
  return sum;
}

/** The way back, rounded at each step as in the runtime. */
export function dequantizeRows(rows: QuantizedRows, bits: QuantizedBits): Float32Array {
  const { quanta, scales, zeroPoints, offsets } = rows;
  const values = new Float32Array(scales.length * BLOCK_SIZE);
  for (let i = 0; i < values.length; i++) {
    const b = Math.floor(i / BLOCK_SIZE);
    const scale = scales[b] as number;
    const q = bits === 8 ? (quanta[i] as number) - MIDDLE : nibble(quanta, i);
    if (offsets) {
      const lowest = Math.fround((offsets[b] as number) - MIDDLE4 * scale);
      values[i] = Math.fround(scale * q) + lowest;
    } else values[i] = scale * (zeroPoints ? q - nibble(zeroPoints, b) : q);
  }
  return values;
}

function nibble(bytes: Uint8Array, index: number): number {
  return ((bytes[index >> 1] as number) >> (4 * (index & 1))) & 15;
}
