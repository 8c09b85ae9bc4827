import { afterAll, beforeAll, expect, test } from "vitest";
import { gradients } from "../../src/graph/gradients.ts";
import { serialize } from "../../src/graph/onnx.ts";
import { add, matmul, mul, sigmoid, sumAll, tanh } from "../../src/graph/ops/index.ts";
import { recomputed } from "../../src/graph/recompute.ts";
import { input, type Value } from "../../src/graph/value.ts";
import { openRuntime, type Runtime } from "../../src/runtime/runtime.ts";
import { random } from "../../src/tensor/random.ts";
import { floats, scalar } from "../../src/tensor/tensor.ts";

let runtime: Runtime;
beforeAll(() => {
  runtime = openRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

const N = 6;
const x = input("x", "float32", [N, N]);
const w = input("w", "float32", [N, N]);
// One free value made of another: neither may count the other's way to the loss a second time.
const scaled = tanh(w);
const squared = mul(scaled, scaled);

// sigmoid(w) is made inside, anew each time, and depends on nothing but what is outside.
const inner = (h: Value): Value => add(mul(tanh(matmul(h, scaled)), mul(squared, sigmoid(w))), h);

function losses(wrap: (h: Value) => Value): Record<string, Value> {
  const loss = sumAll(mul(wrap(wrap(x)), x));
  const [dx, dw] = gradients(loss, [x, w]);
  return { loss, dx: dx as Value, dw: dw as Value };
}

async function run(graph: Record<string, Value>) {
  const generator = random(3, "recompute");
  const draw = () =>
    floats(
      Float32Array.from({ length: N * N }, () => generator.normal()),
      [N, N],
    );
  const session = await runtime.load(graph);
  const given = { x: draw(), w: draw(), zero: scalar(0) };
  const feeds = Object.fromEntries(session.graph.inputs.map(({ name }) => [name, given[name as "x"]]));
  const got = await session.run(feeds);
  await session.close();
  return got;
}

const zero = input("zero", "float32", []);
const again = (h: Value): Value => recomputed([h], (v) => inner(v as Value), zero);

/** Sums of gradients come in another order: rounding only. */
async function expectSame(wrap: (h: Value) => Value): Promise<void> {
  const [got, want] = [await run(losses(wrap)), await run(losses(inner))];
  expect(got.loss, "the forward pass is the same").toEqual(want.loss);
  for (const name of ["dx", "dw"])
    expect(
      Array.from<number | bigint, number>(
        got[name]?.data ?? [],
        (value, i) => Number(value) - Number(want[name]?.data[i]),
      ),
    ).toEqual(Array.from({ length: N * N }, () => expect.closeTo(0, 5)));
}

test("values and gradients are those of the plain graph", () => expectSame(again));

test("what is computed inside another such part is computed again there as well", () =>
  expectSame((h) => recomputed([h], (v) => again(v as Value), zero)));

test("the forward pass is in the graph twice, and only what the gradient needs of it", () => {
  const count = (wrap: (h: Value) => Value, op: string) => serialize(losses(wrap)).opCounts.get(op) ?? 0;
  // Two parts, with one tanh each beside the one outside.
  expect([count(inner, "Tanh"), count(again, "Tanh")]).toEqual([1 + 2, 1 + 4]);
});

test("without a gradient nothing is computed twice, and no input is asked for", () => {
  const graph = serialize({ y: again(x) });
  expect(graph.inputs.map((i) => i.name).sort()).toEqual(["w", "x"]);
});
