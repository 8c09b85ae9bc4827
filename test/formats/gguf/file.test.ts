import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { InputError, NotFoundError, UnsupportedError } from "../../../src/errors.ts";
import { openGguf } from "../../../src/formats/gguf/open.ts";
import { messageOf, temporaryFolder } from "../fixtures.ts";
import { ggufBytes, type TestGguf } from "./bytes.ts";

async function fileOf(content: TestGguf | Uint8Array): Promise<string> {
  const path = join(await temporaryFolder(), "model.gguf");
  await writeFile(path, content instanceof Uint8Array ? content : ggufBytes(content));
  return path;
}

const failure = async (content: TestGguf | Uint8Array): Promise<string> =>
  messageOf(openGguf(await fileOf(content)));

const floats = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);

/** [2, 3] in row-major terms. */
const matrix = { name: "m", dimensions: [3, 2], type: 0, data: floats(1, 2, 3, 4, 5, 6) };

test("values of every type", async () => {
  const values = {
    u8: { type: 0, value: 255 },
    i8: { type: 1, value: -1 },
    u16: { type: 2, value: 65535 },
    i16: { type: 3, value: -2 },
    u32: 7,
    i32: { type: 5, value: -3 },
    f32: 0.5,
    yes: true,
    no: false,
    text: "héllo \uFFFD",
    u64: { type: 10, value: 2 ** 40 },
    i64: { type: 11, value: -4 },
    f64: { type: 12, value: 0.1 },
    list: ["a", "", "日"],
    nested: [[1, 2], [3]],
    none: [],
  };
  const file = await openGguf(await fileOf({ values }));
  const plain = Object.entries(values).map(([key, v]) => [
    key,
    typeof v === "object" && "type" in v ? v.value : v,
  ]);
  expect([...file.values]).toEqual(plain);
  await file.close();
});

test("64-bit integers beyond 2^53 are kept exactly", async () => {
  const bytes = ggufBytes({ values: { big: { type: 10, value: 0 } } });
  new DataView(bytes.buffer, bytes.byteOffset + 24 + 8 + 3 + 4).setBigUint64(0, 2n ** 63n + 1n, true);
  const file = await openGguf(await fileOf(bytes));
  expect(file.values.get("big")).toBe(2n ** 63n + 1n);
  await file.close();
});

test("tensors: reversed dimensions, alignment, version 2, quantized blocks", async () => {
  const q8 = new Uint8Array(34).fill(2);
  q8.set([0x00, 0x3c]); // half 1.0
  const tensors = [matrix, { name: "q", dimensions: [32], type: 8, data: q8 }];
  for (const alignment of [32, 8, 64]) {
    const file = await openGguf(
      await fileOf({ version: 2, alignment, values: { "general.alignment": alignment }, tensors }),
    );
    expect(file.version).toBe(2);
    expect(file.entries.get("q")).toMatchObject({ type: "Q8_0", shape: [32], sizeBytes: 34 });
    expect(await file.read("m")).toEqual({
      dtype: "float32",
      shape: [2, 3],
      data: Float32Array.of(1, 2, 3, 4, 5, 6),
    });
    expect((await file.read("q")).data).toEqual(new Float32Array(32).fill(2));
    await expect(file.read("none")).rejects.toThrow(NotFoundError);
    await file.close();
  }
});

test("a header longer than the first read is read on", async () => {
  const tokens = Array.from({ length: 200_000 }, (_, i) => `token number ${i} of many`);
  const file = await openGguf(await fileOf({ values: { tokens }, tensors: [matrix] }));
  expect(file.values.get("tokens")).toEqual(tokens);
  expect((await file.read("m")).data[5]).toBe(6);
  await file.close();
});

test("files that are something else", async () => {
  expect(await failure(Buffer.from("GGML, and then some more bytes"))).toMatch(/is not a GGUF file/);
  expect(await failure(Buffer.from("GGUF"))).toMatch(/is 4 bytes long, too short/);
  expect(await failure({ version: 1 })).toMatch(/UnsupportedError.*GGUF version 1 is not supported/);
  expect(await failure({ version: 0x03000000 })).toMatch(/big-endian GGUF files are not supported/);
});

test("counts and lengths beyond the file are refused before anything is allocated", async () => {
  for (const count of [2n ** 64n - 1n, 2n ** 40n, 1000n]) {
    expect(await failure({ tensorCount: count })).toMatch(
      /the tensor count is \d+, more than the \d+ bytes that follow/,
    );
    expect(await failure({ valueCount: count })).toMatch(
      /the key count is \d+, more than the \d+ bytes that follow/,
    );
  }
  const long = ggufBytes({ values: { key: "some text" } });
  new DataView(long.buffer, long.byteOffset + 24 + 8 + 3 + 4).setBigUint64(0, 2n ** 63n, true);
  expect(await failure(long)).toMatch(/the length of key is 9223372036854775808, more than/);
  const array = ggufBytes({ values: { key: [1, 2, 3] } });
  new DataView(array.buffer, array.byteOffset + 24 + 8 + 3 + 8).setBigUint64(0, 2n ** 61n, true);
  expect(await failure(array)).toMatch(/the length of key is 2305843009213693952, more than/);
});

test("broken values", async () => {
  expect(await failure({ values: { key: { type: 99, value: 1 } } })).toMatch(/key has unknown value type 99/);
  expect(await failure({ values: { deep: [[[[[1]]]]] } })).toMatch(/deep nests arrays more than 4 deep/);
  const text = ggufBytes({ values: { key: "ab" } });
  text[24 + 8 + 3 + 4 + 8] = 0xff;
  expect(await failure(text)).toMatch(/key is not UTF-8/);
  const twice = ggufBytes({ values: { aa: 1, ab: 2 } });
  twice[24 + 8 + 2 + 4 + 4 + 8 + 1] = 0x61;
  expect(await failure(twice)).toMatch(/key "aa" is given twice/);
  expect(await failure(ggufBytes({ values: { aa: 1 } }).subarray(0, 40))).toMatch(/the file ends inside/);
});

test.each([0, 3, 2 ** 30])("alignment %i is refused", async (alignment) => {
  expect(await failure({ values: { "general.alignment": alignment } })).toMatch(
    `general.alignment is ${alignment}, expected a power of two`,
  );
});

test("every tensor at fault is named in one error", async () => {
  const tensors = [
    matrix,
    { ...matrix, offset: 0n },
    { ...matrix, name: "type", type: 4 },
    { ...matrix, name: "beyond", offset: 2n ** 40n },
    { ...matrix, name: "wraps", offset: 2n ** 64n - 32n },
    { ...matrix, name: "odd", offset: 3n },
    { ...matrix, name: "huge", dimensions: [2n ** 40n, 2n ** 40n] },
    { ...matrix, name: "empty", dimensions: [0] },
    { ...matrix, name: "partial", dimensions: [33], type: 8 },
    { ...matrix, name: "overlap", offset: 0n },
  ];
  const path = await fileOf({ tensors });
  await expect(openGguf(path)).rejects.toThrow(InputError);
  const message = await messageOf(openGguf(path));
  for (const part of [
    /m: is given twice/,
    /type: has unknown type 4/,
    /beyond: ends at byte \d+, the file at byte \d+ \(truncated\?\)/,
    /wraps: ends at byte/,
    /odd: offset 3 is not a multiple of 32/,
    /huge: shape \[1099511627776,1099511627776\] has too many elements/,
    /empty: shape \[0\] has no elements/,
    /partial: rows of 33 elements do not fill Q8_0 blocks of 32/,
    /overlap: overlaps "m" by 24 bytes/,
  ])
    expect(message).toMatch(part);
});

test("more than four dimensions, and types that are known but not read", async () => {
  expect(await failure({ tensors: [{ ...matrix, dimensions: [1, 1, 1, 1, 6] }] })).toMatch(
    /has 5 dimensions/,
  );
  const file = await openGguf(
    await fileOf({ tensors: [{ name: "i", dimensions: [256], type: 23, data: new Uint8Array(136) }] }),
  );
  await expect(file.read("i")).rejects.toThrow(UnsupportedError);
  expect(await file.readBytes("i")).toHaveLength(136);
  await file.close();
});
