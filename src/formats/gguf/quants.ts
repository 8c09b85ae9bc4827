import { ShapeError, UnsupportedError } from "../../errors.ts";
import { fromBrainFloat, fromHalf, halfTable } from "../../tensor/half.ts";
import { dequantizeQ2K, dequantizeQ3K, dequantizeQ4K, dequantizeQ5K, dequantizeQ6K } from "./kquants.ts";
import { GGML_TYPES } from "./types.ts";

/** Fills `out` from the blocks in `bytes`. Every product and sum of a half, a scale and a quantum fits a double
 *  exactly, so one rounding to float32 remains, as in the reference. */
type Dequantize = (bytes: Uint8Array, out: Float32Array) => void;

/** x = d · (q − 8). Block: half d, 16 bytes whose low nibbles are elements 0-15 and high nibbles 16-31. */
function dequantizeQ40(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let at = 0, o = 0; at < bytes.length; at += 18, o += 32) {
    const d = half[bytes[at]! | (bytes[at + 1]! << 8)]!;
    for (let j = 0; j < 16; j++) {
      const q = bytes[at + 2 + j]!;
      out[o + j] = d * ((q & 15) - 8);
      out[o + 16 + j] = d * ((q >> 4) - 8);
    }
  }
}

/** x = d · q + m. Block: halves d and m, 16 bytes of nibbles as in Q4_0. */
function dequantizeQ41(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let at = 0, o = 0; at < bytes.length; at += 20, o += 32) {
    const d = half[bytes[at]! | (bytes[at + 1]! << 8)]!;
    const m = half[bytes[at + 2]! | (bytes[at + 3]! << 8)]!;
    for (let j = 0; j < 16; j++) {
      const q = bytes[at + 4 + j]!;
      out[o + j] = d * (q & 15) + m;
      out[o + 16 + j] = d * (q >> 4) + m;
    }
  }
}

/** x = d · (q − 16). Block: half d, 32 fifth bits, 16 bytes of nibbles. */
function dequantizeQ50(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let at = 0, o = 0; at < bytes.length; at += 22, o += 32) {
    const d = half[bytes[at]! | (bytes[at + 1]! << 8)]!;
    const high = bytes[at + 2]! | (bytes[at + 3]! << 8) | (bytes[at + 4]! << 16) | (bytes[at + 5]! << 24);
    for (let j = 0; j < 16; j++) {
      const q = bytes[at + 6 + j]!;
      out[o + j] = d * (((q & 15) | (((high >>> j) & 1) << 4)) - 16);
      out[o + 16 + j] = d * (((q >> 4) | (((high >>> (j + 16)) & 1) << 4)) - 16);
    }
  }
}

/** x = d · q + m. Block: halves d and m, 32 fifth bits, 16 bytes of nibbles. */
function dequantizeQ51(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let at = 0, o = 0; at < bytes.length; at += 24, o += 32) {
    const d = half[bytes[at]! | (bytes[at + 1]! << 8)]!;
    const m = half[bytes[at + 2]! | (bytes[at + 3]! << 8)]!;
    const high = bytes[at + 4]! | (bytes[at + 5]! << 8) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 24);
    for (let j = 0; j < 16; j++) {
      const q = bytes[at + 8 + j]!;
      out[o + j] = d * ((q & 15) | (((high >>> j) & 1) << 4)) + m;
      out[o + 16 + j] = d * ((q >> 4) | (((high >>> (j + 16)) & 1) << 4)) + m;
    }
  }
}

/** x = d · q. Block: half d, 32 signed bytes. */
function dequantizeQ80(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  const signed = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0, o = 0; at < bytes.length; at += 34, o += 32) {
    const d = half[bytes[at]! | (bytes[at + 1]! << 8)]!;
    for (let j = 0; j < 32; j++) out[o + j] = d * signed[at + 2 + j]!;
  }
}

/** Copies bytes to where a typed array of any width may start. */
function aligned(bytes: Uint8Array): ArrayBuffer {
  return bytes.slice().buffer as ArrayBuffer;
}

/** Storage types that can be read; one line each. Block layouts: ggml-common.h. */
const DEQUANTIZERS: ReadonlyMap<string, Dequantize> = new Map<string, Dequantize>([
  ["F32", (bytes, out) => new Uint8Array(out.buffer, out.byteOffset, bytes.length).set(bytes)],
  ["F16", (bytes, out) => fromHalf(new Uint16Array(aligned(bytes)), out)],
  ["BF16", (bytes, out) => fromBrainFloat(new Uint16Array(aligned(bytes)), out)],
  ["Q4_0", dequantizeQ40],
  ["Q4_1", dequantizeQ41],
  ["Q5_0", dequantizeQ50],
  ["Q5_1", dequantizeQ51],
  ["Q8_0", dequantizeQ80],
  ["Q2_K", dequantizeQ2K],
  ["Q3_K", dequantizeQ3K],
  ["Q4_K", dequantizeQ4K],
  ["Q5_K", dequantizeQ5K],
  ["Q6_K", dequantizeQ6K],
]);

const TYPES_BY_NAME: ReadonlyMap<string, { blockSize: number; blockBytes: number }> = new Map(
  [...GGML_TYPES.values()].map((type) => [type.name, type]),
);

/** Names of the storage types that `dequantize` reads. */
export const READABLE_TYPES: readonly string[] = [...DEQUANTIZERS.keys()];

/** Quantized blocks → float32, in order. `type` as GGML names it ("Q4_1").
 *  @throws UnsupportedError for a type without a dequantizer; ShapeError if `bytes` is not a whole number of blocks. */
export function dequantize(type: string, bytes: Uint8Array): Float32Array {
  const read = DEQUANTIZERS.get(type);
  const block = TYPES_BY_NAME.get(type);
  if (!read || !block)
    throw new UnsupportedError(
      `tensors of type ${type} cannot be read; readable: ${READABLE_TYPES.join(", ")}`,
    );
  if (bytes.length % block.blockBytes !== 0)
    throw new ShapeError(
      `${bytes.length} bytes are not a whole number of ${type} blocks of ${block.blockBytes}`,
    );
  const out = new Float32Array((bytes.length / block.blockBytes) * block.blockSize);
  read(bytes, out);
  return out;
}
