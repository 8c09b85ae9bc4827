import { expect, test } from "vitest";
import { fromBrainFloat, fromHalf, toBrainFloat, toHalf } from "../../src/tensor/half.ts";
import { bitsOf, decode, readFixture } from "../formats/fixtures.ts";

interface HalfFixture {
  readonly float32: string;
  readonly float16: string;
  readonly bfloat16: string;
}

const fixture = await readFixture<HalfFixture>("half.json");
const floats = new Float32Array(decode(fixture.float32).buffer);
const halves = new Uint16Array(decode(fixture.float16).buffer);
const brains = new Uint16Array(decode(fixture.bfloat16).buffer);

test("float32 → half and bfloat16 round as PyTorch does, on every boundary and at random", () => {
  expect(toHalf(floats)).toEqual(halves);
  expect(toBrainFloat(floats)).toEqual(brains);
});

test("every half survives the way to float32 and back; NaN stays NaN", () => {
  const all = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
  const wide = new Float32Array(65536);
  fromHalf(all, wide);
  const isNumber = (bits: number): boolean => !Number.isNaN(wide[bits] as number);
  expect(toHalf(wide).filter((_, bits) => isNumber(bits))).toEqual(all.filter(isNumber));
  expect(all.filter((bits) => !isNumber(bits))).toHaveLength(2 * 1023);
  expect(Array.from([0x3c00, 0x7bff, 0x0001, 0xfc00], (bits) => wide[bits])).toEqual([
    1,
    65504,
    2 ** -24,
    Number.NEGATIVE_INFINITY,
  ]);
});

test("bfloat16 → float32 is the upper half of the bits", () => {
  const wide = new Float32Array(brains.length);
  fromBrainFloat(brains, wide);
  expect(bitsOf(wide)).toEqual(Uint32Array.from(brains, (bits) => (bits << 16) >>> 0));
  expect(toBrainFloat(Float32Array.of(Number.NaN))[0]).toBe(0x7fc0);
});
