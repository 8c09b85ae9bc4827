import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { InputError, ShapeError } from "../../../src/errors.ts";
import { openGguf } from "../../../src/formats/gguf/open.ts";
import { type GgufTensorType, quantize } from "../../../src/formats/gguf/quantize.ts";
import { dequantize } from "../../../src/formats/gguf/quants.ts";
import { f32, flag, type GgufTyped, list, text, u32 } from "../../../src/formats/gguf/values.ts";
import { type GgufInput, writeGguf } from "../../../src/formats/gguf/write.ts";
import { fixturePath } from "../../peft/adapters.ts";
import { decode, failure, temporaryFolder } from "../fixtures.ts";

const fixture = JSON.parse(await readFile(fixturePath("interchange/quantize.json"), "utf8")) as Record<
  GgufTensorType | "values",
  string
>;
const values = new Float32Array(decode(fixture.values).buffer);
const TYPES: readonly GgufTensorType[] = ["F32", "F16", "BF16", "Q8_0", "Q4_0"];

describe("quantizing", () => {
  test.each(TYPES)("%s equals the gguf package bit by bit", (type) => {
    expect(Buffer.from(quantize(type, values, "w")).equals(decode(fixture[type]))).toBe(true);
  });

  test("Q8_0 and Q4_0 come back within half a step", () => {
    for (const [type, steps] of [["Q8_0", 127] as const, ["Q4_0", 8] as const]) {
      const back = dequantize(type, quantize(type, values, "w"));
      values.forEach((x, i) => {
        const block = values.subarray(i - (i % 32), i - (i % 32) + 32);
        const largest = block.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
        // Half a step, a whole one where Q4_0 clips the far end, and the half precision of the scale, subnormal or not.
        const bound = (largest / steps) * (type === "Q4_0" ? 1.01 : 0.51) + largest / 1000 + steps * 2 ** -25;
        expect(Math.abs(x - (back[i] as number))).toBeLessThanOrEqual(bound);
      });
    }
  });

  test("blocks below the smallest half are zero, not NaN", () => {
    const tiny = new Float32Array(32).fill(1e-42);
    for (const type of ["Q8_0", "Q4_0"] as const)
      expect([...dequantize(type, quantize(type, tiny, "w"))].every((x) => x === 0)).toBe(true);
  });

  test("what a type cannot hold is refused with its place", () => {
    const large = new Float32Array(32).fill(1);
    large[5] = 70000;
    expect(() => quantize("F16", large, "blk.0")).toThrow(
      "blk.0: element 5 is 70000, F16 holds up to ±65504",
    );
    large[7] = Number.NaN;
    expect(() => quantize("F32", large, "blk.0")).toThrow("element 7 is NaN, expected finite values");
    expect(() => quantize("Q8_0", new Float32Array(33), "w")).toThrow(ShapeError);
  });
});

const int = (type: "uint8" | "int8" | "uint16" | "int16" | "int32", value: number): GgufTyped => ({
  type,
  value,
});

const KEYS: ReadonlyMap<string, GgufTyped> = new Map<string, GgufTyped>([
  ["general.architecture", text("llama")],
  ["general.alignment", u32(64)],
  ["t.uint8", int("uint8", 255)],
  ["t.int8", int("int8", -128)],
  ["t.uint16", int("uint16", 65535)],
  ["t.int16", int("int16", -32768)],
  ["t.uint32", u32(4294967295)],
  ["t.int32", int("int32", -2147483648)],
  ["t.float32", f32(1e-5)],
  ["t.float64", { type: "float64", value: 0.1 }],
  ["t.uint64", { type: "uint64", value: 2n ** 64n - 1n }],
  ["t.int64", { type: "int64", value: -(2n ** 63n) }],
  ["t.bool", flag(true)],
  ["t.string", text("naïve ▁😀")],
  ["t.strings", list("string", ["a", "", "ĠĊ"])],
  ["t.ints", list("int32", [1, -2, 3])],
  ["t.floats", list("float32", [0.5, -1.25])],
  ["t.bools", list("bool", [true, false])],
]);

const TENSORS: readonly GgufInput[] = [
  { name: "a.weight", shape: [3, 32], type: "F32", data: values.slice(0, 96) },
  { name: "b.weight", shape: [2, 32], type: "F16", data: values.slice(0, 64) },
  { name: "c.weight", shape: [5, 32], type: "Q8_0", data: async () => values.slice(0, 160) },
  { name: "d.weight", shape: [2, 64], type: "Q4_0", data: () => values.slice(0, 128) },
  { name: "e.bias", shape: [7], type: "F32", data: values.slice(0, 7) },
];

describe("writing", () => {
  test("keys of every type, tensors, alignment: byte by byte what the gguf package writes", async () => {
    const path = join(await temporaryFolder(), "keys.gguf");
    const seen: number[] = [];
    await writeGguf(path, KEYS, TENSORS, {
      onProgress: (p) => seen.push(p.doneBytes / (p.totalBytes as number)),
    });
    const [ours, theirs] = [await readFile(path), await readFile(fixturePath("interchange/keys.gguf"))];
    expect(ours.equals(theirs)).toBe(true);
    expect(seen).toHaveLength(5);
    expect(seen.at(-1)).toBe(1);
  });

  test("arrays of arrays come back", async () => {
    const path = join(await temporaryFolder(), "nested.gguf");
    const nested: GgufTyped = {
      type: "array",
      items: "array",
      value: [
        { type: "array", items: "uint8", value: [1, 2] },
        { type: "array", items: "string", value: ["x"] },
      ],
    };
    await writeGguf(path, new Map([["k", nested]]), []);
    const file = await openGguf(path);
    expect(file.values.get("k")).toEqual([[1, 2], ["x"]]);
    await file.close();
  });

  test("everything that the format cannot hold, in one error, and no file", async () => {
    const folder = await temporaryFolder();
    const keys = new Map<string, GgufTyped>([
      ["a", u32(-1)],
      ["b", int("int8", 128)],
      ["c", list("uint16", [1, 1.5])],
    ]);
    const data = new Float32Array(40);
    const tensors: GgufInput[] = [
      { name: "w", shape: [40], type: "Q8_0", data },
      { name: "w", shape: [1, 1, 1, 1, 40], type: "F32", data },
      { name: "n".repeat(64), shape: [0, 4], type: "F32", data },
    ];
    const error = (await failure(writeGguf(join(folder, "x.gguf"), keys, tensors))) as InputError;
    expect(error).toBeInstanceOf(InputError);
    expect(error.problems.map((p) => `${p.where}: ${p.message}`)).toEqual([
      "a: expected uint32, got -1",
      "b: expected int8, got 128",
      "c[1]: expected uint16, got 1.5",
      "w: rows of [40] do not fill Q8_0 blocks of 32",
      "w: is given twice",
      "w: has 5 dimensions, at most 4",
      `${"n".repeat(64)}: has a name of 64 bytes or more`,
      `${"n".repeat(64)}: has no elements, shape [0,4]`,
    ]);
    const bad = new Map([["general.alignment", u32(48)]]);
    expect((await failure(writeGguf(join(folder, "x.gguf"), bad, []))).message).toMatch(
      /power of two, got 48/,
    );
    const short: GgufInput = { name: "w", shape: [4], type: "F32", data: new Float32Array(3) };
    expect(await failure(writeGguf(join(folder, "x.gguf"), new Map(), [short]))).toBeInstanceOf(ShapeError);
    expect(await readdir(folder)).toEqual([]);
  });
});
