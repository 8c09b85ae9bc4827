import { afterAll, expect, test } from "vitest";
import { add, concat, linear } from "../../../src/graph/ops/index.ts";
import { input, type Value } from "../../../src/graph/value.ts";
import { type Branch, joinedBranches } from "../../../src/peft/methods/lora-joined.ts";
import { openRuntime } from "../../../src/runtime/runtime.ts";
import { random } from "../../../src/tensor/random.ts";
import { type FloatTensor, floats, type Tensor } from "../../../src/tensor/tensor.ts";

const runtime = openRuntime({ threads: 1 });
afterAll(() => runtime.close());

const generator = random(1, "joined");
function normal(...shape: number[]): FloatTensor {
  return floats(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => generator.normal()),
    shape,
  );
}

test("two products are the updates of several modules, and zeros where there is none", async () => {
  const feeds: Record<string, FloatTensor> = {
    x: normal(1, 3, 8),
    a0: normal(2, 8),
    b0: normal(5, 2),
    a2: normal(3, 8),
    b2: normal(4, 3),
    rest: floats(new Float32Array(18), [1, 3, 6]),
  };
  const values = Object.fromEntries(
    Object.entries(feeds).map(([name, t]) => [name, input(name, "float32", t.shape)]),
  ) as Record<"x" | "a0" | "b0" | "a2" | "b2" | "rest", Value>;
  const { x, a0, b0, a2, b2, rest } = values;
  const branches: Branch[] = [
    { outSize: 5, factors: { a: a0, b: b0, scaling: 2 } },
    { outSize: 6, factors: null },
    { outSize: 4, factors: { a: a2, b: b2, scaling: 0.5 } },
  ];
  const got = joinedBranches(branches, x) as Value;
  const want = concat([linear(linear(x, a0), b0, 2), rest, linear(linear(x, a2), b2, 0.5)], 2);
  const session = await runtime.load({
    off: add(got, linear(want, input("minus", "float32", [15, 15]))),
    want,
  });
  const minus = Float32Array.from({ length: 225 }, (_, i) => (i % 16 === 0 ? -1 : 0));
  const result = await session.run({ ...feeds, minus: floats(minus, [15, 15]) });
  const largest = (t: Tensor): number => Math.max(...Array.from(t.data as Float32Array, Math.abs));
  expect(largest(result.want as Tensor)).toBeGreaterThan(1);
  // Scaling before or after the product: a rounding or two of float32.
  expect(largest(result.off as Tensor)).toBeLessThan(1e-5);
});

test("a matrix of mostly zeros is not made", () => {
  const branch = (name: string): Branch => ({
    outSize: 1024,
    factors: {
      a: input(`${name}.a`, "float32", [64, 16]),
      b: input(`${name}.b`, "float32", [1024, 64]),
      scaling: 1,
    },
  });
  const x = input("x", "float32", [1, 1, 16]);
  expect(joinedBranches([branch("p"), branch("q")], x)).toBeNull();
  expect(joinedBranches([branch("p")], x)).not.toBeNull();
});
