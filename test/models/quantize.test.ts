import { expect, test } from "vitest";
import { quantize } from "../../src/formats/gguf/quantize.ts";
import { dequantize } from "../../src/formats/gguf/quants.ts";
import { dequantizeRows, quantizeRows } from "../../src/models/quantize.ts";
import { random } from "../../src/tensor/random.ts";

function normals(count: number, seed: number): Float32Array {
  const generator = random(seed, "weights");
  return Float32Array.from({ length: count }, () => generator.normal());
}

function rounded(values: Float32Array, bits: 4 | 8): Float32Array {
  return dequantizeRows(quantizeRows(values, bits), bits);
}

function rootMeanSquare(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
}

test.each([
  ["Q8_0", 8],
  ["Q4_0", 4],
] as const)("what a GGUF file holds in %s stays as it is in %i bits", (type, bits) => {
  const stored = dequantize(type, quantize(type, normals(64 * 40, 1), "w"));
  const again = rounded(stored, bits);
  // Scales of Q8_0 are halves, which max|x|/127 gives back exactly; Q4_0's are x/−8.
  expect(again).toEqual(stored);
});

test("so does Q4_1 by steps over the range of each block, up to float rounding", () => {
  // A block in Q4_1: half scale, half minimum, 16 bytes of nibbles; both ends of the range occur.
  const block = Uint8Array.from([
    0x66,
    0x2e,
    0x00,
    0xb9,
    0xf0,
    ...Array.from({ length: 15 }, (_, i) => 17 * i),
  ]);
  const stored = dequantize("Q4_1", Uint8Array.from([...block, ...block]));
  const again = dequantizeRows(quantizeRows(stored, 4, "range"), 4);
  expect(Math.max(...again.map((x, i) => Math.abs(x - (stored[i] as number))))).toBeLessThan(1e-6);
});

test("errors are those of so many steps over a block's range", () => {
  const values = normals(64 * 500, 2);
  const error = (bits: 4 | 8): number =>
    rootMeanSquare(rounded(values, bits).map((x, i) => x - (values[i] as number)));
  // A block of 32 normal numbers spans about 4.1: steps of 4.1/15 and 2·2.3/254 have errors of step/√12.
  expect(error(4)).toBeLessThan(0.08);
  expect(error(8)).toBeLessThan(0.0055);
});

test("a block of 4 bits keeps its range where it is all positive, all zero or one value", () => {
  const block = (fill: (i: number) => number): Float32Array =>
    Float32Array.from({ length: 64 }, (_, i) => fill(i % 32));
  for (const values of [
    block((i) => 1 + i / 31),
    block(() => 0),
    block(() => -0.3),
    block((i) => (i === 5 ? 7 : 0)),
  ]) {
    const off = rounded(values, 4).map((x, i) => Math.abs(x - (values[i] as number)));
    expect(Math.max(...off)).toBeLessThanOrEqual(2 / 15 + 1e-6);
  }
});

test("low halves of bytes come first, in quanta and zero points", () => {
  const values = new Float32Array(64);
  values.set([0, 15, 1, 2], 0);
  values.set([-15, 0, -1, -2], 32);
  const { quanta, scales, zeroPoints } = quantizeRows(values, 4);
  expect(Array.from(scales)).toEqual([1, 1]);
  expect(Array.from(zeroPoints ?? [])).toEqual([0xf0]);
  expect(Array.from(quanta.slice(0, 2))).toEqual([0xf0, 0x21]);
  expect(Array.from(quanta.slice(16, 18))).toEqual([0xf0, 0xde]);
});
