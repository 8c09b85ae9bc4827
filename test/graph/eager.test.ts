import { afterAll, beforeAll, expect, test } from "vitest";
import { type EagerTerm, eager } from "../../src/graph/eager.ts";
import { gradients, topologicalOrder } from "../../src/graph/gradients.ts";
import {
  add,
  exp,
  gather,
  linear,
  logSoftmax,
  mul,
  scale,
  sumAll,
  total,
} from "../../src/graph/ops/index.ts";
import { input, type Value } from "../../src/graph/value.ts";
import { openRuntime, type Runtime } from "../../src/runtime/runtime.ts";
import { floats, ints, scalar } from "../../src/tensor/tensor.ts";
import { numbers } from "./harness.ts";

let runtime: Runtime;
beforeAll(() => {
  runtime = openRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

const hidden = input("hidden", "float32", [6, 3]);
const head = input("head", "float32", [5, 3]);
const zero = input("zero", "float32", []);
const drawn = (n: number, from: number): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => Math.sin(7 * i + from));
const FEEDS = {
  hidden: floats(drawn(18, 1), [6, 3]),
  head: floats(drawn(15, 2), [5, 3]),
  zero: scalar(0),
};
const places = [0, 1, 2].map((i) => input(`rows.${i}`, "int32", [2]));
const chunk = (i: number): Value => gather(mul(hidden, hidden), places[i] as Value);
const rows = (i: number) => ints(Int32Array.of(2 * i, 2 * i + 1), [2]);
const termOf = (x: Value): Value => sumAll(exp(logSoftmax(linear(x, head))));

function eagerTerms(count: number): EagerTerm[] {
  const terms: EagerTerm[] = [];
  for (let i = 0; i < count; i++)
    terms.push(eager(chunk(i), (x) => mul(termOf(x), sumAll(linear(x, head))), terms.at(-1) ?? null, zero));
  return terms;
}

async function run(loss: Value): Promise<number[][]> {
  const [dHidden, dHead] = gradients(loss, [hidden, head]) as [Value, Value];
  const session = await runtime.load({ loss, dHidden, dHead });
  const feeds = { ...FEEDS, "rows.0": rows(0), "rows.1": rows(1), "rows.2": rows(2) };
  const used = new Set(session.graph.inputs.map((i) => i.name));
  const out = await session.run(Object.fromEntries(Object.entries(feeds).filter(([name]) => used.has(name))));
  await session.close();
  return ["loss", "dHidden", "dHead"].map((name) => numbers(out[name] as NonNullable<(typeof out)[string]>));
}

test("a sum of eager terms has the value and gradients of the plain sum, times a factor too", async () => {
  const plain = total([0, 1, 2].map((i) => mul(termOf(chunk(i)), sumAll(linear(chunk(i), head)))));
  const terms = total(eagerTerms(3).map((t) => t.value));
  for (const of of [(x: Value) => x, (x: Value) => scale(x, -3), (x: Value) => add(mul(x, x), x)]) {
    const [got, want] = [await run(of(terms)), await run(of(plain))];
    want.forEach((values, v) => {
      // Sums of some twenty float32 products in another order.
      const largest = Math.max(...values.map(Math.abs));
      expect(largest).toBeGreaterThan(0.01);
      values.forEach((x, i) => {
        expect(Math.abs(x - (got[v]?.[i] as number))).toBeLessThan(1e-5 * largest);
      });
    });
  }
});

test("a term begins when the one before and its gradient are there", () => {
  const [first, second] = eagerTerms(2) as [EagerTerm, EagerTerm];
  const before = topologicalOrder([second.value], (n) => (n.alias ? [n.alias] : n.inputs));
  expect(before).toContain((first.gradient as Value).node);
  expect(before).toContain(first.value.node);
});

test("values from outside that a term takes get their gradients", async () => {
  const inner = mul(head, head);
  const { value } = eager(chunk(0), (x) => sumAll(linear(x, inner)), null, zero);
  const [, , got] = await run(value);
  const [, , want] = await run(sumAll(linear(chunk(0), mul(head, head))));
  expect(got).toEqual(want);
});
