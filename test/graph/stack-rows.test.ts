import { expect, test } from "vitest";
import { stackRows } from "../../src/graph/ops/index.ts";
import { input, type Value, weight } from "../../src/graph/value.ts";

function stored(name: string, rows: number, offsetBytes: number, fileName = "weights.bin"): Value {
  return weight(name, [rows, 8], { fileName, offsetBytes, sizeBytes: rows * 32 });
}

test("floats that lie below each other in one file are one weight", () => {
  const stacked = stackRows([stored("q", 4, 64), stored("k", 2, 192)]);
  expect(stacked?.shape).toEqual([6, 8]);
  expect(stacked?.node.source).toEqual({
    kind: "weight",
    name: "q+k",
    file: { fileName: "weights.bin", offsetBytes: 64, sizeBytes: 192 },
  });
});

test.each([
  ["a gap", [stored("q", 4, 0), stored("k", 2, 160)]],
  ["another order", [stored("q", 4, 64), stored("k", 2, 0)]],
  ["two files", [stored("q", 4, 0), stored("k", 2, 128, "merged.bin")]],
  ["one that is trained", [stored("q", 4, 0), input("k", "float32", [2, 8])]],
])("nothing is stacked over %s", (_what, matrices) => {
  expect(stackRows(matrices)).toBeNull();
});
