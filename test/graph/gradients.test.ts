import { afterAll, beforeAll, expect, test } from "vitest";
import { UnsupportedError } from "../../src/errors.ts";
import { gradients, topologicalOrder } from "../../src/graph/gradients.ts";
import { serialize } from "../../src/graph/onnx.ts";
import {
  add,
  detach,
  linear,
  mul,
  relu,
  scale,
  sign,
  split,
  square,
  sumAll,
} from "../../src/graph/ops/index.ts";
import { compose, input, type Value } from "../../src/graph/value.ts";
import { openRuntime, type Runtime } from "../../src/runtime/runtime.ts";
import { floats } from "../../src/tensor/tensor.ts";
import { numbers } from "./harness.ts";

let runtime: Runtime;
beforeAll(() => {
  runtime = openRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

const X = [1, -2, 3];
const x = input("x", "float32", [3]);

async function evaluate(value: Value | null | undefined): Promise<number[]> {
  const session = await runtime.load({ y: value as Value });
  const { y } = await session.run({ x: floats(Float32Array.from(X), [3]) });
  await session.close();
  return numbers(y as NonNullable<typeof y>);
}

test("a value used several times sums what flows back", async () => {
  const loss = sumAll(add(mul(x, x), scale(x, 5))); // d = 2x + 5
  expect(await evaluate(gradients(loss, [x])[0])).toEqual([7, 1, 11]);
});

test("a value used twice by one node counts twice", async () => {
  expect(await evaluate(gradients(sumAll(add(x, x)), [x])[0])).toEqual([2, 2, 2]);
});

test("a value that the loss does not depend on has no gradient", () => {
  const other = input("other", "float32", [3]);
  expect(gradients(sumAll(x), [other, x]).map((g) => g === null)).toEqual([true, false]);
});

test("the loss itself has gradient one", async () => {
  const loss = sumAll(x);
  expect(await evaluate(gradients(loss, [loss])[0])).toEqual([1]);
});

test("a value inside the graph can be asked for", async () => {
  const y = scale(x, 3);
  expect(await evaluate(gradients(sumAll(square(y)), [y])[0])).toEqual([6, -12, 18]); // 2y
});

test("a value and what it is made from can be asked for together", async () => {
  const y = scale(x, 3);
  const [dx, dy] = gradients(sumAll(square(y)), [x, y]);
  expect(await evaluate(dy)).toEqual([6, -12, 18]); // 2y
  expect(await evaluate(dx)).toEqual([18, -36, 54]); // 3 · 2y
});

test("no gradient flows through what is detached", async () => {
  const loss = sumAll(mul(detach(square(x)), x)); // x² a constant: d = x²
  expect(await evaluate(loss)).toEqual([1 - 8 + 27]);
  expect(await evaluate(gradients(loss, [x])[0])).toEqual([1, 4, 9]);
  expect(gradients(sumAll(detach(x)), [x])[0]).toBe(null);
});

test("pieces of a split that nobody uses get zeros", async () => {
  const [, last] = split(x, [2, 1], 0) as [Value, Value];
  expect(await evaluate(gradients(sumAll(square(last)), [x])[0])).toEqual([0, 0, 6]);
});

test("a node without a gradient is an error where the gradient must pass it, and only there", async () => {
  expect(() => gradients(sumAll(mul(sign(x), x)), [x])).toThrow(UnsupportedError);
  const frozen = input("frozen", "float32", [3]);
  const loss = sumAll(mul(sign(frozen), x));
  expect(serialize({ dx: gradients(loss, [x])[0] as Value }).opCounts.get("Sign")).toBe(1);
});

test("a composition's stated gradient is used, and its body is what runs", async () => {
  const stated = compose([x], relu(x), (dy) => [scale(dy, 10)]);
  expect(await evaluate(stated)).toEqual([1, 0, 3]);
  expect(await evaluate(gradients(sumAll(stated), [x])[0])).toEqual([10, 10, 10]);
});

test("frozen weights get no gradient: one product back through each, none for them", () => {
  const h = input("h", "float32", [4, 3]);
  const [frozen, trained] = [input("w", "float32", [3, 3]), input("t", "float32", [3, 3])];
  const loss = sumAll(square(linear(linear(h, trained), frozen)));
  const graph = serialize({ g: gradients(loss, [trained])[0] as Value });
  // d of the frozen product's input, d of the trained weight: the input h has none
  expect((graph.opCounts.get("MatMul") ?? 0) + (graph.opCounts.get("com.microsoft::FusedMatMul") ?? 0)).toBe(
    2 + 2,
  );
});

test("what nobody asked for is not in the graph", () => {
  const unused = input("unused", "float32", [3]);
  gradients(sumAll(mul(x, unused)), [x, unused]);
  expect(serialize({ y: square(x) }).inputs.map((i) => i.name)).toEqual(["x"]);
});

test("20,000 nodes in a row do not overflow the stack", () => {
  let y = x;
  for (let i = 0; i < 20_000; i++) y = add(y, x);
  const order = topologicalOrder([y], (n) => n.inputs);
  expect(order.length).toBe(20_001);
  expect(gradients(sumAll(y), [x])[0]).not.toBeNull();
});

test("a diamond is visited once, inputs before what uses them", () => {
  let y = x;
  for (let i = 0; i < 60; i++) y = mul(y, y); // 2⁶⁰ paths
  const order = topologicalOrder([y], (n) => n.inputs);
  expect(order.length).toBe(61);
  const seen = new Set();
  for (const node of order) {
    for (const v of node.inputs) expect(v === null || seen.has(v.node)).toBe(true);
    seen.add(node);
  }
});
