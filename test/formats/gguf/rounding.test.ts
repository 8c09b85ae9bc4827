import { describe, expect, test } from "vitest";
import { type GgufTensorType, quantize } from "../../../src/formats/gguf/quantize.ts";
import { dequantize } from "../../../src/formats/gguf/quants.ts";
import { beyondRounding } from "../../../src/formats/gguf/rounding.ts";
import { random } from "../../../src/tensor/random.ts";

const TYPES: readonly GgufTensorType[] = [
  ...(["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"] as const),
];

/** 64 blocks of many sizes: ordinary, huge, tiny, subnormal, zero, equal, with one that stands out. */
function values(seed: number): Float32Array {
  const generator = random(seed, "values");
  const scales = [1, 0.02, 300, 1e-6, 1e-9, 1e-42, 0];
  return Float32Array.from({ length: 64 * 32 }, (_, i) => {
    const scale = scales[Math.floor(i / 32) % scales.length] as number;
    if (i % 320 < 32) return i % 2 === 0 ? 3 : -3;
    return scale * generator.normal() * (i % 97 === 0 ? 20 : 1);
  });
}

const roundTrip = (type: GgufTensorType, x: Float32Array): Float32Array =>
  dequantize(type, quantize(type, x, "w"));

describe.each(TYPES)("%s", (type) => {
  test("what the type makes of a value is within its rounding", () => {
    for (let seed = 0; seed < 20; seed++) {
      const x = values(seed);
      expect(beyondRounding(type, x, roundTrip(type, x))).toBeNull();
    }
  });

  test("a value of another weight is not, however near", () => {
    // A change of a thousandth of the block's largest is below half a step of every quantized type, and shows because some of
    // the 32 values lie near the middle between two steps. Blocks of zeros and of values that halves cannot hold are left out.
    const x = values(1);
    const changed = x.map((v, i) => v + (i % 2 === 0 ? 0.01 : -0.01));
    const found = beyondRounding(type, x, roundTrip(type, changed));
    expect(found).not.toBeNull();
    expect(Math.abs((found?.got as number) - (found?.expected as number))).toBeGreaterThan(
      found?.allowed as number,
    );
  });

  test("NaN is never explained", () => {
    const x = values(2);
    const stored = roundTrip(type, x);
    stored[77] = Number.NaN;
    expect(beyondRounding(type, x, stored)?.index).toBe(77);
  });
});

test("half a step: not more", () => {
  const x = new Float32Array(32);
  x[0] = 8; // Q4_0: steps of 1 from −8 to 7 times −1; Q8_0: steps of 8/127
  x[1] = 2;
  const stored = Float32Array.from(x);
  const beyond = (type: GgufTensorType, value: number): boolean => {
    stored[1] = value;
    return beyondRounding(type, x, stored) !== null;
  };
  expect([2.49, 2.51, 1.49].map((v) => beyond("Q4_0", v))).toEqual([false, true, true]);
  expect([2.03, 2.04, 1.96].map((v) => beyond("Q8_0", v))).toEqual([false, true, true]);
  expect([2 + 2 ** -10, 2 + 2 ** -9].map((v) => beyond("F16", v))).toEqual([false, true]);
  expect([2 + 2 ** -7, 2 + 2 ** -6].map((v) => beyond("BF16", v))).toEqual([false, true]);
  expect([2, 2 + 2 ** -22].map((v) => beyond("F32", v))).toEqual([false, true]);
});

test("what was added before storing, and taken off again, rounds too", () => {
  const x = Float32Array.of(1e-3, 0.3);
  const stored = x.map((v) => Math.fround(v + 1) - 1);
  expect(beyondRounding("F32", x, stored)).not.toBeNull();
  expect(beyondRounding("F32", x, stored, 1)).toBeNull();
});
