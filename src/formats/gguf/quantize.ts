import { InputError, ShapeError } from "../../errors.ts";
import { firstNonFinite } from "../../tensor/finite.ts";
import { toBrainFloat, toHalf } from "../../tensor/half.ts";
import { quantizeQ4K, quantizeQ5K, quantizeQ6K } from "./quantize-k.ts";
import { GGML_TYPES } from "./types.ts";

/** Storage types that can be written. */
export type GgufTensorType =
  | "F32"
  | "F16"
  | "BF16"
  | "Q8_0"
  | "Q4_0"
  | "Q5_0"
  | "Q5_1"
  | "Q4_K"
  | "Q5_K"
  | "Q6_K";

const BLOCK = 32;
const half = new Float32Array(1);

/** Writes a block's scale as a half. */
function putHalf(out: Uint8Array, at: number, value: number): void {
  half[0] = value;
  const bits = toHalf(half)[0] as number;
  out[at] = bits & 255;
  out[at + 1] = bits >> 8;
}

/** 1/d in float32; 0 where it has none: d is then 0 as a half too, and so is the whole block. */
function reciprocal(d: number): number {
  const inverse = d === 0 ? 0 : Math.fround(1 / d);
  return Number.isFinite(inverse) ? inverse : 0;
}

/** Half away from zero, as C's roundf. */
function roundAway(x: number): number {
  const a = Math.abs(x);
  const whole = Math.floor(a);
  return Math.sign(x) * (a - whole >= 0.5 ? whole + 1 : whole);
}

/** d = max|x|/127, q = round(x/d). Block: half d, 32 signed bytes. Every step is rounded to float32, as in the reference
 *  (ggml-quants.c, quantize_row_q8_0_ref). */
function quantizeQ80(values: Float32Array, out: Uint8Array): void {
  for (let i = 0, at = 0; i < values.length; i += BLOCK, at += 34) {
    let largest = 0;
    for (let j = 0; j < BLOCK; j++) largest = Math.max(largest, Math.abs(values[i + j]!));
    const d = Math.fround(largest / 127);
    const inverse = reciprocal(d);
    putHalf(out, at, d);
    for (let j = 0; j < BLOCK; j++) out[at + 2 + j] = roundAway(Math.fround(values[i + j]! * inverse));
  }
}

/** d = (the x largest in size)/−8, q = ⌊x/d + 8.5⌋ up to 15. Block: half d, 16 bytes whose low nibbles are elements 0-15 and
 *  high nibbles 16-31 (quantize_row_q4_0_ref). */
function quantizeQ40(values: Float32Array, out: Uint8Array): void {
  for (let i = 0, at = 0; i < values.length; i += BLOCK, at += 18) {
    let largest = values[i]!;
    for (let j = 1; j < BLOCK; j++)
      if (Math.abs(values[i + j]!) > Math.abs(largest)) largest = values[i + j]!;
    const d = Math.fround(largest / -8);
    const inverse = reciprocal(d);
    const quantum = (x: number): number =>
      Math.min(15, Math.trunc(Math.fround(Math.fround(x * inverse) + 8.5)));
    putHalf(out, at, d);
    for (let j = 0; j < 16; j++)
      out[at + 2 + j] = quantum(values[i + j]!) | (quantum(values[i + 16 + j]!) << 4);
  }
}

/** Writes quanta of 5 bits: the fifth bits of all in 4 bytes, then low nibbles as Q4_0 has them. */
function putFives(out: Uint8Array, at: number, quantum: (j: number) => number): void {
  for (let j = 0; j < 16; j++) {
    const [low, high] = [quantum(j), quantum(j + 16)];
    out[at + 4 + j] = (low & 15) | ((high & 15) << 4);
    out[at + (j >> 3)]! |= (low >> 4) << (j & 7);
    out[at + 2 + (j >> 3)]! |= (high >> 4) << (j & 7);
  }
}

/** d = (the x largest in size)/−16, q = ⌊x/d + 16.5⌋ up to 31. Block: half d, 4 bytes of fifth bits, 16 of nibbles
 *  (quantize_row_q5_0_ref). */
function quantizeQ50(values: Float32Array, out: Uint8Array): void {
  for (let i = 0, at = 0; i < values.length; i += BLOCK, at += 22) {
    let largest = values[i]!;
    for (let j = 1; j < BLOCK; j++)
      if (Math.abs(values[i + j]!) > Math.abs(largest)) largest = values[i + j]!;
    const d = Math.fround(largest / -16);
    const inverse = reciprocal(d);
    putHalf(out, at, d);
    putFives(out, at + 2, (j) =>
      Math.min(31, Math.trunc(Math.fround(Math.fround(values[i + j]! * inverse) + 16.5))),
    );
  }
}

/** d = (max − min)/31, q = ⌊(x − min)/d + 0.5⌋. Block: halves d and min, 4 bytes of fifth bits, 16 of nibbles
 *  (quantize_row_q5_1_ref). */
function quantizeQ51(values: Float32Array, out: Uint8Array): void {
  for (let i = 0, at = 0; i < values.length; i += BLOCK, at += 24) {
    const block = values.subarray(i, i + BLOCK);
    const least = Math.min(...block);
    const d = Math.fround(Math.fround(Math.max(...block) - least) / 31);
    const inverse = reciprocal(d);
    putHalf(out, at, d);
    putHalf(out, at + 2, least);
    putFives(out, at + 4, (j) =>
      Math.trunc(Math.fround(Math.fround(Math.fround(block[j]! - least) * inverse) + 0.5)),
    );
  }
}

function copyOf(from: Float32Array | Uint16Array, out: Uint8Array): void {
  out.set(new Uint8Array(from.buffer, from.byteOffset, from.byteLength));
}

interface Encoder {
  readonly encode: (values: Float32Array, out: Uint8Array) => void;
  /** Largest |x| that the type holds. */
  readonly limit: number;
}

const HALF_MAX = 65504;

/** One line per type. */
const ENCODERS: Readonly<Record<GgufTensorType, Encoder>> = {
  F32: { encode: copyOf, limit: Number.POSITIVE_INFINITY },
  F16: { encode: (values, out) => copyOf(toHalf(values), out), limit: HALF_MAX },
  BF16: { encode: (values, out) => copyOf(toBrainFloat(values), out), limit: Number.POSITIVE_INFINITY },
  Q8_0: { encode: quantizeQ80, limit: HALF_MAX * 127 },
  Q4_0: { encode: quantizeQ40, limit: HALF_MAX * 8 },
  Q5_0: { encode: quantizeQ50, limit: HALF_MAX * 16 },
  Q5_1: { encode: quantizeQ51, limit: HALF_MAX },
  Q4_K: { encode: quantizeQ4K, limit: HALF_MAX },
  Q5_K: { encode: quantizeQ5K, limit: HALF_MAX },
  Q6_K: { encode: quantizeQ6K, limit: HALF_MAX },
};

const TYPES: ReadonlyMap<
  string,
  { readonly id: number; readonly blockSize: number; readonly blockBytes: number }
> = new Map(
  [...GGML_TYPES].map(([id, { name, blockSize, blockBytes }]) => [name, { id, blockSize, blockBytes }]),
);

/** Id, elements per block and bytes per block of a type. */
export function ggufTypeOf(type: GgufTensorType): {
  readonly id: number;
  readonly blockSize: number;
  readonly blockBytes: number;
} {
  return TYPES.get(type) as { id: number; blockSize: number; blockBytes: number };
}

/** float32 → bytes of a GGUF storage type, in order; equal to the reference implementation's bit by bit. `name` is the
 *  tensor's in errors.
 *  @throws ShapeError if the values do not fill blocks; InputError for values that are not finite or beyond the type. */
export function quantize(type: GgufTensorType, values: Float32Array, name: string): Uint8Array {
  const { blockSize, blockBytes } = ggufTypeOf(type);
  const { encode, limit } = ENCODERS[type];
  if (values.length % blockSize !== 0)
    throw new ShapeError(`"${name}": ${values.length} elements do not fill ${type} blocks of ${blockSize}`);
  const bad = firstNonFinite(values);
  const at = bad >= 0 ? bad : values.findIndex((x) => Math.abs(x) > limit);
  if (at >= 0) {
    const why = bad >= 0 ? "expected finite values" : `${type} holds up to ±${limit}; write F32`;
    throw new InputError(`${type} cannot hold every weight:`, [
      { where: name, message: `element ${at} is ${values[at]}, ${why}` },
    ]);
  }
  const out = new Uint8Array((values.length / blockSize) * blockBytes);
  encode(values, out);
  return out;
}
