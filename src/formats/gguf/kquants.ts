import { halfTable } from "../../tensor/half.ts";

// K-quants (llama.cpp, ggml-quants.c): super-blocks of 256 elements in 8 groups of 32 or 16 groups of 16, each group
// with a small scale (and minimum) that is itself quantized against one half per super-block.

/** x = d · scale · q − dmin · min. Block of 84: 16 bytes (low nibble scale, high nibble min of a group of 16), 64 bytes of
 *  2-bit quanta, halves d and dmin. */
export function dequantizeQ2K(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let at = 0, o = 0; at < bytes.length; at += 84) {
    const d = half[bytes[at + 80]! | (bytes[at + 81]! << 8)]!;
    const dmin = half[bytes[at + 82]! | (bytes[at + 83]! << 8)]!;
    for (let group = 0; group < 16; group++) {
      const packed = bytes[at + group]!;
      const scale = d * (packed & 15);
      const min = dmin * (packed >> 4);
      // 128 elements share 32 bytes: group pairs take the same bytes at shifts 0, 2, 4, 6.
      const from = at + 16 + 32 * (group >> 3) + 16 * (group & 1);
      const shift = group & 6;
      for (let j = 0; j < 16; j++) out[o++] = scale * ((bytes[from + j]! >> shift) & 3) - min;
    }
  }
}

/** Scale of a group of 16 in Q3_K: 6 bits, four low in bytes 0-7, two high in bytes 8-11, minus 32. */
function scaleQ3K(bytes: Uint8Array, at: number, group: number): number {
  const low = (bytes[at + (group & 7)]! >> (group < 8 ? 0 : 4)) & 15;
  const high = (bytes[at + 8 + (group & 3)]! >> (2 * (group >> 2))) & 3;
  return (low | (high << 4)) - 32;
}

/** x = d · scale · (q − 4·(high bit unset)). Block of 110: 32 bytes of high bits, 64 bytes of 2-bit quanta, 12 bytes of
 *  scales, half d. */
export function dequantizeQ3K(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let at = 0, o = 0; at < bytes.length; at += 110) {
    const d = half[bytes[at + 108]! | (bytes[at + 109]! << 8)]!;
    for (let group = 0; group < 16; group++) {
      const scale = d * scaleQ3K(bytes, at + 96, group);
      const from = at + 32 + 32 * (group >> 3) + 16 * (group & 1);
      const highFrom = at + 16 * (group & 1);
      const shift = group & 6;
      const highBit = 1 << (group >> 1);
      for (let j = 0; j < 16; j++) {
        const low = (bytes[from + j]! >> shift) & 3;
        out[o++] = scale * (bytes[highFrom + j]! & highBit ? low : low - 4);
      }
    }
  }
}

/** 6-bit scale of group 0-7 in the 12 bytes of Q4_K and Q5_K. */
function scaleK4(bytes: Uint8Array, at: number, group: number): number {
  if (group < 4) return bytes[at + group]! & 63;
  return (bytes[at + 4 + group]! & 15) | ((bytes[at + group - 4]! >> 6) << 4);
}

/** 6-bit minimum of group 0-7 in the 12 bytes of Q4_K and Q5_K. */
function minK4(bytes: Uint8Array, at: number, group: number): number {
  if (group < 4) return bytes[at + 4 + group]! & 63;
  return (bytes[at + 4 + group]! >> 4) | ((bytes[at + group]! >> 6) << 4);
}

/** x = d · scale · q − dmin · min. Block of 144: halves d and dmin, 12 bytes of scales and minima, 128 bytes of nibbles. */
export function dequantizeQ4K(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let at = 0, o = 0; at < bytes.length; at += 144) {
    const d = half[bytes[at]! | (bytes[at + 1]! << 8)]!;
    const dmin = half[bytes[at + 2]! | (bytes[at + 3]! << 8)]!;
    for (let group = 0; group < 8; group++) {
      const scale = d * scaleK4(bytes, at + 4, group);
      const min = dmin * minK4(bytes, at + 4, group);
      const from = at + 16 + 32 * (group >> 1);
      const shift = 4 * (group & 1);
      for (let j = 0; j < 32; j++) out[o++] = scale * ((bytes[from + j]! >> shift) & 15) - min;
    }
  }
}

/** x = d · scale · q − dmin · min. Block of 176: halves d and dmin, 12 bytes of scales and minima, 32 bytes of fifth bits,
 *  128 bytes of nibbles. */
export function dequantizeQ5K(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let at = 0, o = 0; at < bytes.length; at += 176) {
    const d = half[bytes[at]! | (bytes[at + 1]! << 8)]!;
    const dmin = half[bytes[at + 2]! | (bytes[at + 3]! << 8)]!;
    for (let group = 0; group < 8; group++) {
      const scale = d * scaleK4(bytes, at + 4, group);
      const min = dmin * minK4(bytes, at + 4, group);
      const from = at + 48 + 32 * (group >> 1);
      const shift = 4 * (group & 1);
      for (let j = 0; j < 32; j++) {
        const high = (bytes[at + 16 + j]! >> group) & 1;
        out[o++] = scale * (((bytes[from + j]! >> shift) & 15) | (high << 4)) - min;
      }
    }
  }
}

/** x = d · scale · (q − 32). Block of 210: 128 bytes of low nibbles, 64 bytes of 2 high bits, 16 signed scales of groups of
 *  16, half d. */
export function dequantizeQ6K(bytes: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  const signed = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0, o = 0; at < bytes.length; at += 210) {
    const d = half[bytes[at + 208]! | (bytes[at + 209]! << 8)]!;
    for (let group = 0; group < 16; group++) {
      const scale = d * signed[at + 192 + group]!;
      const inner = group & 7; // 128 elements: 64 bytes of nibbles (twice), 32 bytes of high bits (four times)
      const lowFrom = at + 64 * (group >> 3) + 16 * (inner & 3);
      const lowShift = inner < 4 ? 0 : 4;
      const highFrom = at + 128 + 32 * (group >> 3) + 16 * (inner & 1);
      const highShift = inner & 6;
      for (let j = 0; j < 16; j++) {
        const low = (bytes[lowFrom + j]! >> lowShift) & 15;
        out[o++] = scale * ((low | (((bytes[highFrom + j]! >> highShift) & 3) << 4)) - 32);
      }
    }
  }
}
