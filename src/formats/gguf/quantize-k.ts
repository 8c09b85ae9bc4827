import { halfTable, toHalf } from "../../tensor/half.ts";

// K-quants as llama.cpp makes them without an importance matrix (ggml-quants.c, quantize_row_q4_K_ref, _q5_K_ref, _q6_K_ref), bit by
// bit: every step is rounded to float32, in the reference's order.

const { abs, fround, max, min, sqrt } = Math;

const SUPER = 256;
/** Below it a group counts as zeros (GROUP_MAX_EPS). */
const LEAST = fround(1e-15);

/** The nearest whole number of a float32 up to 2^22 in size, ties to even. */
function nearest(x: number): number {
  return fround(x + 12582912) - 12582912;
}

function limited(x: number, low: number, high: number): number {
  return max(low, min(high, x));
}

const one = new Float32Array(1);

function halfBits(x: number): number {
  one[0] = x;
  return toHalf(one)[0]!;
}

function putHalf(out: Uint8Array, at: number, bits: number): void {
  out[at] = bits & 255;
  out[at + 1] = bits >> 8;
}

/** Tries of a group's steps: from (start + largest) / range on, `count` more of `step`. */
interface Search {
  readonly largest: number;
  readonly start: number;
  readonly step: number;
  readonly count: number;
}

const Q4_SEARCH: Search = { largest: 15, start: -1, step: fround(0.1), count: 20 };
const Q5_SEARCH: Search = { largest: 31, start: -0.5, step: fround(0.1), count: 15 };

const weights = new Float32Array(32);
const tried = new Uint8Array(32);

/** How much each element of a group of 32 counts: root mean square + |x|. */
function weigh(x: Float32Array, at: number): void {
  let squares = 0;
  for (let i = 0; i < 32; i++) squares = fround(squares + fround(x[at + i]! * x[at + i]!));
  const average = fround(sqrt(fround(squares / 32)));
  for (let i = 0; i < 32; i++) weights[i] = average + abs(x[at + i]!);
}

interface Line {
  scale: number;
  least: number;
}

const line: Line = { scale: 0, least: 0 };

/** Σ w·(scale·q + least − x)² over a group. */
function errorOf(
  x: Float32Array,
  at: number,
  quanta: Uint8Array,
  from: number,
  { scale, least }: Line,
): number {
  let error = 0;
  for (let i = 0; i < 32; i++) {
    const off = fround(fround(fround(scale * quanta[from + i]!) + least) - x[at + i]!);
    error = fround(error + fround(weights[i]! * fround(off * off)));
  }
  return error;
}

const fitted: Line = { scale: 0, least: 0 };

/** Least squares of x ≈ scale·q + least, least ≤ 0, for the quanta that steps of 1/inverse give; false where there is none. */
function fitLine(
  x: Float32Array,
  at: number,
  inverse: number,
  low: number,
  largest: number,
  sums: Sums,
): boolean {
  let [l, l2, xl] = [0, 0, 0];
  for (let i = 0; i < 32; i++) {
    const q = limited(nearest(fround(inverse * fround(x[at + i]! - low))), 0, largest);
    tried[i] = q;
    const wl = fround(weights[i]! * q);
    l = fround(l + wl);
    l2 = fround(l2 + fround(wl * q));
    xl = fround(xl + fround(wl * x[at + i]!));
  }
  const determinant = fround(fround(sums.w * l2) - fround(l * l));
  if (!(determinant > 0)) return false;
  fitted.scale = fround(fround(fround(sums.w * xl) - fround(sums.x * l)) / determinant);
  fitted.least = fround(fround(fround(l2 * sums.x) - fround(l * xl)) / determinant);
  if (fitted.least > 0) {
    fitted.least = 0;
    fitted.scale = fround(xl / l2);
  }
  return true;
}

interface Sums {
  readonly w: number;
  readonly x: number;
}

/** Scale and minimum (make_qkx2_quants) of a group of 32 into `line`, quanta from `from` on. */
function fitGroup(x: Float32Array, at: number, quanta: Uint8Array, from: number, search: Search): void {
  let [low, high, w, wx] = [x[at]!, x[at]!, weights[0]!, fround(weights[0]! * x[at]!)];
  for (let i = 1; i < 32; i++) {
    const value = x[at + i]!;
    if (value < low) low = value;
    if (value > high) high = value;
    w = fround(w + weights[i]!);
    wx = fround(wx + fround(weights[i]! * value));
  }
  if (low > 0) low = 0;
  line.least = low;
  line.scale = 0;
  if (high === low) {
    quanta.fill(0, from, from + 32);
    return;
  }
  const { largest, start, step, count } = search;
  const range = fround(high - low);
  const inverse = fround(largest / range);
  line.scale = fround(1 / inverse);
  for (let i = 0; i < 32; i++)
    quanta[from + i] = limited(nearest(fround(inverse * fround(x[at + i]! - low))), 0, largest);
  let best = errorOf(x, at, quanta, from, line);
  const sums = { w, x: wx };
  for (let s = 0; s <= count; s++) {
    const steps = fround(fround(start + fround(step * s)) + largest);
    // The grid lies on the minimum of the best so far, as in the reference.
    if (!fitLine(x, at, fround(steps / fround(high - line.least)), line.least, largest, sums)) continue;
    const error = errorOf(x, at, tried, 0, fitted);
    if (error >= best) continue;
    quanta.set(tried, from);
    best = error;
    line.scale = fitted.scale;
    line.least = fitted.least;
  }
}

const quanta = new Uint8Array(SUPER);
const scales = new Float32Array(16);
const minima = new Float32Array(8);

/** Quanta of a super-block in 8 groups of 32; halves d and dmin and the 12 bytes of 6-bit scales and minima go to `at`. */
function superBlock(x: Float32Array, from: number, out: Uint8Array, at: number, search: Search): void {
  let [maxScale, maxMin] = [0, 0];
  for (let j = 0; j < 8; j++) {
    weigh(x, from + 32 * j);
    fitGroup(x, from + 32 * j, quanta, 32 * j, search);
    scales[j] = line.scale;
    minima[j] = -line.least;
    maxScale = max(maxScale, scales[j]!);
    maxMin = max(maxMin, minima[j]!);
  }
  const inverseScale = maxScale > 0 ? fround(63 / maxScale) : 0;
  const inverseMin = maxMin > 0 ? fround(63 / maxMin) : 0;
  const [d, dmin] = [halfBits(fround(maxScale / 63)), halfBits(fround(maxMin / 63))];
  putHalf(out, at, d);
  putHalf(out, at + 2, dmin);
  const half = halfTable();
  for (let j = 0; j < 8; j++) {
    const scale = min(63, nearest(fround(inverseScale * scales[j]!)) & 255);
    const least = min(63, nearest(fround(inverseMin * minima[j]!)) & 255);
    putScales(out, at + 4, j, scale, least);
    requantize(x, from, j, fround(half[d]! * scale), fround(half[dmin]! * least), search.largest);
  }
}

function putScales(out: Uint8Array, at: number, j: number, scale: number, least: number): void {
  if (j < 4) {
    out[at + j] = scale;
    out[at + j + 4] = least;
    return;
  }
  out[at + j + 4] = (scale & 15) | ((least & 15) << 4);
  out[at + j - 4]! |= (scale >> 4) << 6;
  out[at + j]! |= (least >> 4) << 6;
}

/** Quanta of group j for the scale and minimum that are stored. */
function requantize(x: Float32Array, from: number, j: number, d: number, dm: number, largest: number): void {
  if (d === 0) return;
  for (let i = 32 * j; i < 32 * j + 32; i++)
    quanta[i] = limited(nearest(fround(fround(x[from + i]! + dm) / d)), 0, largest);
}

/** Blocks of 144 bytes: halves d and dmin, 12 bytes of scales and minima, 128 bytes of nibbles. */
export function quantizeQ4K(values: Float32Array, out: Uint8Array): void {
  for (let from = 0, at = 0; from < values.length; from += SUPER, at += 144) {
    superBlock(values, from, out, at, Q4_SEARCH);
    for (let j = 0; j < SUPER; j += 64)
      for (let i = 0; i < 32; i++) out[at + 16 + j / 2 + i] = quanta[j + i]! | (quanta[j + i + 32]! << 4);
  }
}

/** Blocks of 176 bytes: as Q4_K with 32 bytes of fifth bits before the nibbles. */
export function quantizeQ5K(values: Float32Array, out: Uint8Array): void {
  for (let from = 0, at = 0; from < values.length; from += SUPER, at += 176) {
    superBlock(values, from, out, at, Q5_SEARCH);
    for (let j = 0; j < SUPER; j++) out[at + 16 + (j & 31)]! |= (quanta[j]! >> 4) << (j >> 5);
    for (let j = 0; j < SUPER; j += 64)
      for (let i = 0; i < 32; i++)
        out[at + 48 + j / 2 + i] = (quanta[j + i]! & 15) | ((quanta[j + i + 32]! & 15) << 4);
  }
}

/** Scale of a group of 16 in −32 … 31 (make_qx_quants with weights x²); quanta + 32 from `from` on. */
function signedGroup(x: Float32Array, at: number, from: number): number {
  let [size, extreme] = [0, 0];
  for (let i = 0; i < 16; i++) {
    const own = abs(x[at + i]!);
    if (own > size) [size, extreme] = [own, x[at + i]!];
  }
  if (size < LEAST) {
    quanta.fill(0, from, from + 16);
    return 0;
  }
  let inverse = fround(-32 / extreme);
  let { xl, l2 } = signedSums(x, at, inverse);
  putSigned(x, at, from, inverse);
  let scale = l2 === 0 ? 0 : fround(xl / l2);
  let best = fround(scale * xl);
  for (let s = -9; s <= 9; s++) {
    if (s === 0) continue;
    inverse = fround(-fround(32 + fround(fround(0.1) * s)) / extreme);
    ({ xl, l2 } = signedSums(x, at, inverse));
    if (!(l2 > 0 && fround(xl * xl) > fround(best * l2))) continue;
    putSigned(x, at, from, inverse);
    scale = fround(xl / l2);
    best = fround(scale * xl);
  }
  return scale;
}

function signedSums(x: Float32Array, at: number, inverse: number): { xl: number; l2: number } {
  let [xl, l2] = [0, 0];
  for (let i = 0; i < 16; i++) {
    const value = x[at + i]!;
    const q = limited(nearest(fround(inverse * value)), -32, 31);
    const w = fround(value * value);
    xl = fround(xl + fround(fround(w * value) * q));
    l2 = fround(l2 + fround(fround(w * q) * q));
  }
  return { xl, l2 };
}

function putSigned(x: Float32Array, at: number, from: number, inverse: number): void {
  for (let i = 0; i < 16; i++)
    quanta[from + i] = 32 + limited(nearest(fround(inverse * x[at + i]!)), -32, 31);
}

/** Blocks of 210 bytes: 128 bytes of low nibbles, 64 bytes of 2 high bits, 16 signed scales of groups of 16, half d. */
export function quantizeQ6K(values: Float32Array, out: Uint8Array): void {
  for (let from = 0, at = 0; from < values.length; from += SUPER, at += 210) {
    let [size, extreme] = [0, 0];
    for (let j = 0; j < 16; j++) {
      const scale = signedGroup(values, from + 16 * j, 16 * j);
      scales[j] = scale;
      if (abs(scale) > size) [size, extreme] = [abs(scale), scale];
    }
    if (size < LEAST) continue; // all bytes 0
    signedQuanta(values, from, out, at, fround(-128 / extreme));
    for (let j = 0; j < SUPER; j += 128) for (let i = 0; i < 32; i++) packSigned(out, at, j, i);
  }
}

function signedQuanta(x: Float32Array, from: number, out: Uint8Array, at: number, inverse: number): void {
  const d = halfBits(fround(1 / inverse));
  putHalf(out, at + 208, d);
  for (let j = 0; j < 16; j++) {
    const scale = min(127, nearest(fround(inverse * scales[j]!)));
    out[at + 192 + j] = scale;
    const step = fround(halfTable()[d]! * scale);
    if (step === 0) continue;
    for (let i = 16 * j; i < 16 * j + 16; i++)
      quanta[i] = 32 + limited(nearest(fround(x[from + i]! / step)), -32, 31);
  }
}

/** Four quanta of 128, each 32 after the one before, in two bytes of low halves and one of high bits. */
function packSigned(out: Uint8Array, at: number, j: number, i: number): void {
  const [a, b, c, e] = [0, 32, 64, 96].map((n) => quanta[j + i + n]!) as [number, number, number, number];
  out[at + j / 2 + i] = (a & 15) | ((c & 15) << 4);
  out[at + j / 2 + i + 32] = (b & 15) | ((e & 15) << 4);
  out[at + 128 + j / 4 + i] = (a >> 4) | ((b >> 4) << 2) | ((c >> 4) << 4) | ((e >> 4) << 6);
}
