import { appendFile, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FormatError, InputError, NotFoundError, UnsupportedError } from "../../../src/errors.ts";
import { openSafetensors } from "../../../src/formats/safetensors/read.ts";
import { writeSafetensors } from "../../../src/formats/safetensors/write.ts";
import { messageOf, temporaryFolder } from "../fixtures.ts";

/** A safetensors file: header length (by default the true one), header text, data. */
async function fileOf(header: string | Uint8Array, dataBytes = 0, length?: bigint): Promise<string> {
  const text = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  const path = join(await temporaryFolder(), "model.safetensors");
  await writeFile(path, bytes);
  return path;
}

const entry = (dtype: string, shape: number[], begin: number, end: number): string =>
  JSON.stringify({ dtype, shape, data_offsets: [begin, end] });

async function failure(header: string | Uint8Array, dataBytes = 0, length?: bigint): Promise<string> {
  return messageOf(openSafetensors(await fileOf(header, dataBytes, length)));
}

test("what is written is read back, in order, with metadata, at every dtype", async () => {
  const path = join(await temporaryFolder(), "out.safetensors");
  const tensors = [
    { name: "b", shape: [2, 3], data: Float32Array.of(1, -2, 0.5, 3, 4, 1 / 3) },
    { name: "a", shape: [], data: async () => Float32Array.of(7) },
    { name: "__proto__", shape: [0, 4], data: new Float32Array(0) },
  ];
  for (const [dtype, third] of [
    ["F32", Math.fround(1 / 3)],
    ["F16", 0.333251953125],
    ["BF16", 0.333984375],
  ] as const) {
    await writeSafetensors(path, tensors, { metadata: { format: "pt" }, dtype });
    const file = await openSafetensors(path);
    expect([...file.entries.keys()].sort()).toEqual(["__proto__", "a", "b"]);
    expect(file.metadata).toEqual({ format: "pt" });
    expect(file.entries.get("b")).toMatchObject({ dtype, shape: [2, 3] });
    expect(await file.read("b")).toEqual({
      dtype: "float32",
      shape: [2, 3],
      data: Float32Array.of(1, -2, 0.5, 3, 4, third),
    });
    expect((await file.read("a")).data).toEqual(Float32Array.of(7));
    expect((await file.read("__proto__")).shape).toEqual([0, 4]);
    expect((file.entries.get("b")?.offset ?? 1) % 8).toBe(0);
    await file.close();
  }
});

test("F64 is rounded to float32; integers and unknown names are refused by name", async () => {
  const header = `{"d":${entry("F64", [1], 0, 8)},"i":${entry("I32", [2], 8, 16)}}`;
  const path = await fileOf(header, 16);
  const bytes = await readFile(path);
  bytes.writeDoubleLE(0.1, bytes.length - 16);
  await writeFile(path, bytes);
  const file = await openSafetensors(path);
  expect((await file.read("d")).data[0]).toBe(Math.fround(0.1));
  await expect(file.read("i")).rejects.toThrow(UnsupportedError);
  await expect(file.read("i")).rejects.toThrow(/tensor "i" is I32, expected F32, F16, BF16, F64/);
  await expect(file.read("none")).rejects.toThrow(NotFoundError);
  expect(await file.readBytes("i")).toHaveLength(8);
  await file.close();
  await expect(file.read("d")).rejects.toThrow(/was closed/);
});

test("broken headers are refused before anything is allocated", async () => {
  expect(await failure("{}", 0, 2n ** 63n)).toMatch(
    /header length is 9223372036854775808 bytes, the limit is 100000000/,
  );
  expect(await failure("{}", 0, 100_000_001n)).toMatch(/the limit is 100000000/);
  expect(await failure("{}", 0, 3n)).toMatch(/header ends at byte 11, the file at byte 10/);
  expect(await failure(Uint8Array.of(0x7b, 0xff, 0x7d))).toMatch(/is not UTF-8/);
  expect(await failure("{")).toMatch(/FormatError.*is not JSON/);
  expect(await failure("[]")).toMatch(/expected a JSON object, got an array/);
  expect(await failure(`{"a":${"[".repeat(100_000)}`)).toMatch(/nested more than 64 levels deep/);
  const path = join(await temporaryFolder(), "short");
  await writeFile(path, "abc");
  await expect(openSafetensors(path)).rejects.toThrow(FormatError);
  await expect(openSafetensors(path)).rejects.toThrow(/is 3 bytes long/);
  await expect(openSafetensors(`${path}-none`)).rejects.toThrow(NotFoundError);
});

test("metadata may be null, as mlx-lm writes it", async () => {
  const path = await fileOf(`{"__metadata__":null,"a":${entry("F32", [1], 0, 4)}}`, 4);
  const file = await openSafetensors(path);
  expect(file.metadata).toEqual({});
  await file.close();
});

test("a key given twice is refused, also when it is spelled differently", async () => {
  const one = entry("F32", [1], 0, 4);
  expect(await failure(`{"a":${one},"a":${one}}`, 4)).toMatch(/key "a" is given twice/);
  expect(await failure(`{"a":${one},"\\u0061":${one}}`, 4)).toMatch(/key "a" is given twice/);
});

test("every tensor at fault is named in one error", async () => {
  const header = `{"range":${entry("F32", [2], 0, 4)},"dtype":${entry("X8", [1], 0, 4)},"huge":${entry(
    "F32",
    [2 ** 40, 2 ** 40],
    0,
    4,
  )},"unsafe":{"dtype":"F32","shape":[1],"data_offsets":[0,9007199254740993]},"fraction":{"dtype":"F32","shape":[1.5],"data_offsets":[0,6]},"back":${entry("F32", [0], 4, 0)},"__metadata__":{"x":1}}`;
  const message = await failure(header, 4);
  expect(message).toMatch(/^InputError/);
  for (const part of [
    /range: F32 of shape \[2\] needs 8 bytes, data_offsets hold 4/,
    /dtype: unknown dtype "X8"/,
    /huge: shape .* has too many elements/,
    /unsafe: data_offsets .* are not two whole numbers below 2\^53/,
    /fraction: shape \[1.5\] is not a list of whole numbers/,
    /back: data_offsets \[4,0\] end before they begin/,
    /__metadata__: "x" is 1, expected a string/,
  ])
    expect(message).toMatch(part);
});

test("overlaps, gaps, trailing bytes and truncation are refused", async () => {
  const a = `"a":${entry("F32", [1], 0, 4)}`;
  expect(await failure(`{${a},"b":${entry("F32", [1], 2, 6)}}`, 6)).toMatch(/b: overlaps "a" by 2 bytes/);
  expect(await failure(`{${a},"b":${entry("F32", [1], 6, 10)}}`, 10)).toMatch(
    /b: leaves a gap of 2 bytes after "a"/,
  );
  expect(await failure(`{${a}}`, 6)).toMatch(/end of file: 2 bytes belong to no tensor/);
  expect(await failure(`{${a}}`, 2)).toMatch(/a: ends at byte \d+, the file at byte \d+ \(truncated\?\)/);
});

test("a file that is changed while open is not read on", async () => {
  const path = await fileOf(`{"a":${entry("F32", [1], 0, 4)}}`, 4);
  const file = await openSafetensors(path);
  await appendFile(path, "x");
  await expect(file.read("a")).rejects.toThrow(/was changed while it was open/);
  await file.close();
});

test("a failed write leaves the old file and nothing else", async () => {
  const folder = await temporaryFolder();
  const path = join(folder, "out.safetensors");
  await writeSafetensors(path, [{ name: "a", shape: [1], data: Float32Array.of(1) }]);
  const before = await readFile(path);
  const fails = [{ name: "a", shape: [1], data: () => Promise.reject(new Error("no weight")) }];
  await expect(writeSafetensors(path, fails)).rejects.toThrow("no weight");
  await expect(writeSafetensors(path, [{ name: "a", shape: [2], data: Float32Array.of(1) }])).rejects.toThrow(
    /"a" of shape \[2\] needs 2 elements, got 1/,
  );
  expect(await readFile(path)).toEqual(before);
  expect(await readdir(folder)).toEqual(["out.safetensors"]);
});

test("repeated names and weights beyond F16 are refused", async () => {
  const path = join(await temporaryFolder(), "out.safetensors");
  const one = { name: "a", shape: [1], data: Float32Array.of(70_000) };
  await expect(writeSafetensors(path, [one, one])).rejects.toThrow(InputError);
  await expect(writeSafetensors(path, [one], { dtype: "F16" })).rejects.toThrow(/a: 70000 is beyond ±65504/);
  await expect(stat(path)).rejects.toThrow();
});

test("progress counts bytes up to the total", async () => {
  const path = join(await temporaryFolder(), "out.safetensors");
  const seen: string[] = [];
  const tensors = ["a", "b"].map((name) => ({ name, shape: [2], data: Float32Array.of(1, 2) }));
  await writeSafetensors(path, tensors, {
    onProgress: ({ what, doneBytes, totalBytes }) => seen.push(`${what} ${doneBytes}/${totalBytes}`),
  });
  expect(seen).toEqual(["a 8/16", "b 16/16"]);
});
