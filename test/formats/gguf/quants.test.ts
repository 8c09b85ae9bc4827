import { expect, test } from "vitest";
import { ShapeError, UnsupportedError } from "../../../src/errors.ts";
import { dequantize, READABLE_TYPES } from "../../../src/formats/gguf/quants.ts";
import { bitsOf, decode, readFixture } from "../fixtures.ts";

const fixture = await readFixture<Record<string, { bytes: string; values: string }>>("quants.json");

test("the fixture covers every type that is read, but F32", () => {
  expect(new Set(Object.keys(fixture))).toEqual(new Set(READABLE_TYPES.filter((type) => type !== "F32")));
});

// Equal to the bit: every product and sum is exact in double precision and rounded once, as it is in the reference.
test.each(Object.keys(fixture))("%s equals the reference to the bit", (type) => {
  const { bytes, values } = fixture[type] as { bytes: string; values: string };
  expect(bitsOf(dequantize(type, decode(bytes)))).toEqual(new Uint32Array(decode(values).buffer));
});

test("F32 is copied, from bytes that start anywhere", () => {
  const bytes = new Uint8Array(9);
  bytes.set(new Uint8Array(Float32Array.of(1.5, -2).buffer), 1);
  expect(dequantize("F32", bytes.subarray(1))).toEqual(Float32Array.of(1.5, -2));
});

test("an unreadable type and a part of a block are refused", () => {
  expect(() => dequantize("IQ4_XS", new Uint8Array(136))).toThrow(UnsupportedError);
  expect(() => dequantize("IQ4_XS", new Uint8Array(136))).toThrow(
    /type IQ4_XS cannot be read; readable: F32, F16/,
  );
  expect(() => dequantize("Q4_0", new Uint8Array(20))).toThrow(ShapeError);
});
