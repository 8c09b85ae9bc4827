import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RuntimeError, ShapeError } from "../../src/errors.ts";
import { serialize } from "../../src/graph/onnx.ts";
import * as op from "../../src/graph/ops/index.ts";
import { constant, input, weight } from "../../src/graph/value.ts";
import { openRuntime, type Runtime } from "../../src/runtime/runtime.ts";
import { floats, ints, longs } from "../../src/tensor/tensor.ts";
import { numbers } from "./harness.ts";

let runtime: Runtime;
let folder: string;
beforeAll(async () => {
  runtime = openRuntime({ threads: 1 });
  folder = await mkdtemp(join(tmpdir(), "lowrank-test-"));
});
afterAll(async () => {
  await runtime.close();
  await rm(folder, { recursive: true });
});

const float = (name: string, ...shape: (number | string)[]) => input(name, "float32", shape);

test("one graph runs at any size of its named dimensions", async () => {
  const x = float("x", "R", "T", 4);
  const y = op.sum(op.mul(op.foldRows(x), op.foldRows(x)), [1]);
  expect(y.shape).toEqual(["R·T"]);
  const session = await runtime.load({ y });
  for (const [rows, length] of [
    [1, 3],
    [2, 5],
  ] as const) {
    const data = Float32Array.from({ length: rows * length * 4 }, (_, i) => i);
    const got = await session.run({ x: floats(data, [rows, length, 4]) });
    expect(got.y?.shape).toEqual([rows * length]);
    expect(got.y?.data[1]).toBe(16 + 25 + 36 + 49);
  }
  await session.close();
});

test("constants keep their dtype, values and offset inside a larger buffer", async () => {
  const part = Float32Array.of(9, 9, 1.5, -2.5).subarray(2);
  const outputs = {
    f: constant(floats(part, [2])),
    i: constant(ints(Int32Array.of(-1, 2_147_483_647), [2])),
    l: constant(longs(BigInt64Array.of(-(2n ** 53n), 2n ** 40n), [2])),
    s: constant(floats(Float32Array.of(7), [])),
  };
  const session = await runtime.load(outputs);
  const got = await session.run({});
  expect(numbers(got.f as never)).toEqual([1.5, -2.5]);
  expect(numbers(got.i as never)).toEqual([-1, 2_147_483_647]);
  expect(Array.from(got.l?.data as BigInt64Array)).toEqual([-(2n ** 53n), 2n ** 40n]);
  expect(got.s?.shape).toEqual([]);
  await session.close();
});

test("an input can be an output, and a value several outputs", async () => {
  const x = float("x", 2);
  const y = op.neg(x);
  const session = await runtime.load({ same: x, first: y, second: y });
  const got = await session.run({ x: floats(Float32Array.of(1, 2), [2]) });
  expect([got.same, got.first, got.second].map((t) => numbers(t as never))).toEqual([
    [1, 2],
    [-1, -2],
    [-1, -2],
  ]);
  await session.close();
});

test("an external weight is read from its place in the file beside the graph", async () => {
  const data = Float32Array.from({ length: 2048 }, (_, i) => i);
  await writeFile(join(folder, "w.bin"), new Uint8Array(data.buffer));
  const w = weight("w", [2, 3], { fileName: "w.bin", offsetBytes: 4096, sizeBytes: 24 });
  const session = await runtime.load({ y: op.linear(float("x", 1, 3), w) }, { folder });
  const got = await session.run({ x: floats(Float32Array.of(1, 0, 1), [1, 3]) });
  expect(numbers(got.y as never)).toEqual([1024 + 1026, 1027 + 1029]);
  await session.close();
});

test("a missing external file is an error that names it", async () => {
  const w = weight("w", [2], { fileName: "nowhere.bin", offsetBytes: 0, sizeBytes: 8 });
  const load = runtime.load({ y: op.neg(w) }, { folder });
  await expect(load).rejects.toThrow(RuntimeError);
  await expect(load).rejects.toThrow("nowhere.bin");
});

test("an input that is not fed is an error that names it", async () => {
  const session = await runtime.load({ y: op.neg(float("x", 2)) });
  await expect(session.run({})).rejects.toThrow(new RuntimeError('cpu: input "x" was neither fed nor put'));
  await session.close();
});

test("the graph lists its inputs in order and counts its operators", () => {
  const [a, b] = [float("a", 2, 3), input("b", "int32", [4])];
  const graph = serialize({ y: op.square(op.gather(a, b)) });
  expect(graph.inputs).toEqual([
    { name: "a", dtype: "float32", shape: [2, 3] },
    { name: "b", dtype: "int32", shape: [4] },
  ]);
  expect(graph.outputs).toEqual(["y"]);
  expect(Object.fromEntries(graph.opCounts)).toEqual({ Gather: 1, Mul: 1 });
});

test("the same graph has the same bytes", () => {
  const make = () => serialize({ y: op.softmax(op.linear(float("x", "T", 4), float("w", 5, 4))) }).bytes;
  expect(make()).toEqual(make());
});

test.each([
  ["add", () => op.add(float("a", 2, 3), float("b", 2)), "Add: shapes [2, 3] and [2] do not broadcast"],
  [
    "matmul",
    () => op.matmul(float("a", 2, 3), float("b", 4, 5)),
    "matmul: inner dimensions of [2, 3] and [4, 5] differ",
  ],
  [
    "matmul of batches",
    () => op.matmul(float("a", 2, 2, 3), float("b", 3, 3, 2)),
    "matmul: shapes [2] and [3] do not broadcast",
  ],
  [
    "linear",
    () => op.linear(float("x", "T", 3), float("w", 5, 4)),
    "linear: input [T, 3] does not fit weight [5, 4]",
  ],
  [
    "reshape",
    () => op.reshape(float("x", 2, 3), [4, 2]),
    "reshape: [2, 3] to [4, 2] changes the number of elements",
  ],
  [
    "reshape of named dimensions",
    () => op.reshape(float("x", "R", "T"), ["T", "R"]),
    "reshape: [R, T] to [T, R] has 2 unknown dimensions",
  ],
  [
    "split",
    () => op.split(float("x", 2, 5), [2, 2], 1),
    "split: axis 1 of [2, 5] is not the sum of sizes, 4",
  ],
  ["concat", () => op.concat([], 0), "concat: expected at least one value, got none"],
  [
    "rotary",
    () =>
      op.rotary(
        float("x", 1, 2, 6),
        float("p", 1, 2),
        op.rotaryConstants(new Float32Array(4), new Float32Array(4), 2),
      ),
    "rotary: [1, 2, 6] is not a multiple of headDim 4",
  ],
])("%s of the wrong shapes is an error when the graph is built", (_what, build, message) => {
  expect(build).toThrow(new ShapeError(message));
});
