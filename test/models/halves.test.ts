import { expect, test } from "vitest";
import { lower } from "../../src/graph/lower/lower.ts";
import { webgpuLowering } from "../../src/graph/lower/webgpu.ts";
import { serialize } from "../../src/graph/onnx.ts";
import { cast } from "../../src/graph/ops/cast.ts";
import { linear } from "../../src/graph/ops/index.ts";
import { input, weight } from "../../src/graph/value.ts";
import type { ModuleSpec } from "../../src/models/family.ts";
import { moduleWeights } from "../../src/models/family.ts";
import { weightStorages } from "../../src/models/weight-storage.ts";

const MODULES: readonly ModuleSpec[] = [
  { kind: "embedding", path: "embed", count: 4, size: 3 },
  { kind: "linear", path: "layers.0.mlp.up", inSize: 3, outSize: 2, bias: true },
  { kind: "norm", path: "final_norm", size: 3, bias: false },
];

test("16 bits: matrices of linear layers as half precision, everything else as floats", () => {
  const specs = MODULES.flatMap(moduleWeights);
  const storages = weightStorages(MODULES, specs, 16, () => undefined);
  const bits = [...storages].map(([path, storage]) => `${path} ${storage.bits}`);
  expect(bits).toEqual([
    "embed.weight 32",
    "layers.0.mlp.up.weight 16",
    "layers.0.mlp.up.bias 32",
    "final_norm.weight 32",
  ]);
  const storage = storages.get("layers.0.mlp.up.weight");
  const encoded = storage?.encode(Float32Array.of(1, -2.5, 1 / 3, 0, 65504, 2 ** -24)) ?? [];
  expect(encoded.map(({ length }) => length)).toEqual([12]);
  // A third is rounded to 11 bits; the others are half-precision numbers.
  expect(storage?.decode(encoded)).toEqual(Float32Array.of(1, -2.5, 1365 / 4096, 0, 65504, 2 ** -24));
});

test("on WebGPU such a weight is cast behind a shape that the host feeds, or it would be folded into floats", () => {
  const file = { fileName: "weights.bin", offsetBytes: 0, sizeBytes: 12 };
  const w = cast(weight("w.halves", [2, 3], file, "float16"), "float32");
  const y = linear(input("x", "float32", ["n", 3]), w);
  const { outputs, hostInputs } = lower({ y }, webgpuLowering);
  const { inputs, opCounts } = serialize(outputs);
  expect([...hostInputs.keys()]).toContain("sizes.2,3");
  expect(inputs.map(({ name }) => name)).toContain("sizes.2,3");
  expect(opCounts.get("Cast")).toBe(1);
  expect(hostInputs.get("sizes.2,3")?.(new Map())).toMatchObject({ data: BigInt64Array.of(2n, 3n) });
});
