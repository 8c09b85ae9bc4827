/** Bits that a quantized weight is kept in. */
export type QuantizedBits = 4 | 8;

/** Elements that share a scale: 32 neighbours of a row, as GGUF's simple types have it. */
export const BLOCK_SIZE = 32;

/** Rows [n, k] in blocks: x = scale · (quantum − zero point). Laid out as ONNX Runtime's MatMulNBits takes them. */
export interface QuantizedRows {
  /** [n, k·bits/8]; of 4 bits the low half of a byte comes first. */
  readonly quanta: Uint8Array;
  /** [n, k/32] */
  readonly scales: Float32Array;
  /** [n, k/64], two in a byte, for 4 bits; empty for 8 bits, where they are 128. */
  readonly zeroPoints: Uint8Array;
}

/** Zero point of 8-bit quanta, which are symmetric. */
export const MIDDLE = 128;

/** Rounds rows to blocks. 8 bits: symmetric, scale max|x|/127, which keeps GGUF's Q8_0 as it is. 4 bits: the scale and
 *  zero point with the least squared error of several, among them those that keep GGUF's Q4_0 as it is. The length must
 *  be a multiple of 64. */
export function quantizeRows(values: Float32Array, bits: QuantizedBits): QuantizedRows {
  return bits === 8 ? quantize8(values) : quantize4(values);
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
  return { quanta, scales, zeroPoints: new Uint8Array(0) };
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
  return { quanta, scales, zeroPoints };
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

/** The way back. Every value is rounded once, as in the runtime. */
export function dequantizeRows(
  { quanta, scales, zeroPoints }: QuantizedRows,
  bits: QuantizedBits,
): Float32Array {
  const values = new Float32Array(scales.length * BLOCK_SIZE);
  for (let i = 0; i < values.length; i++) {
    const b = Math.floor(i / BLOCK_SIZE);
    const [q, zero] = bits === 8 ? [quanta[i] as number, MIDDLE] : [nibble(quanta, i), nibble(zeroPoints, b)];
    values[i] = (scales[b] as number) * (q - zero);
  }
  return values;
}

function nibble(bytes: Uint8Array, index: number): number {
  return ((bytes[index >> 1] as number) >> (4 * (index & 1))) & 15;
}
