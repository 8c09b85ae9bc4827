import { afterAll, expect, test } from "vitest";
import { hoist } from "../../src/graph/hoist.ts";
import { serialize } from "../../src/graph/onnx.ts";
import { add, mul, split } from "../../src/graph/ops/index.ts";
import { constant, input } from "../../src/graph/value.ts";
import { openRuntime } from "../../src/runtime/runtime.ts";
import { floats, type Tensor } from "../../src/tensor/tensor.ts";
import { numbers } from "./harness.ts";

const runtime = openRuntime({ threads: 1 });
afterAll(() => runtime.close());

test("what depends on one input alone is computed once, with the same results", async () => {
  const [theta, x] = [input("theta", "float32", [6]), input("x", "float32", [2])];
  const [a, b, c] = split(theta, [2, 2, 2], 0) as [typeof x, typeof x, typeof x];
  const weight = constant(floats(Float32Array.of(2, 3), [2]));
  const y = add(mul(x, add(mul(a, weight), b)), c);
  const whole = { y, z: mul(add(x, c), weight) };
  const { once, each } = hoist(whole, theta, "kept");

  expect(Object.keys(once)).toEqual(["kept.0", "kept.1"]); // a·w + b, and c, which two nodes read
  expect(serialize(once).inputs.map((i) => i.name)).toEqual(["theta"]);
  expect(new Set(serialize(each).inputs.map((i) => i.name))).toEqual(new Set(["x", "kept.0", "kept.1"]));
  expect(serialize(each).opCounts.has("Split")).toBe(false);

  const feeds = {
    theta: floats(Float32Array.of(1, -1, 2, 0.5, 7, 9), [6]),
    x: floats(Float32Array.of(3, 4), [2]),
  };
  const want = await (await runtime.load(whole)).run(feeds);
  const kept = await (await runtime.load(once)).run({ theta: feeds.theta });
  const got = await (await runtime.load(each)).run({ x: feeds.x, ...kept });
  expect(got).toEqual(want);
  expect(numbers(got.y as Tensor)).toEqual([3 * 4 + 7, 4 * -2.5 + 9]);
});

test("a graph without the input stays as it is", () => {
  const x = input("x", "float32", [2]);
  const y = mul(x, x);
  const { once, each } = hoist({ y }, input("theta", "float32", [0]), "kept");
  expect(once).toEqual({});
  expect(serialize(each).opCounts).toEqual(serialize({ y }).opCounts);
});
