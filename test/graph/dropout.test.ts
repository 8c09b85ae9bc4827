import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { gradients } from "../../src/graph/gradients.ts";
import { dropout, mul, sumAll } from "../../src/graph/ops/index.ts";
import { constant, input } from "../../src/graph/value.ts";
import { openRuntime, type Runtime } from "../../src/runtime/runtime.ts";
import { random } from "../../src/tensor/random.ts";
import { floats, ints } from "../../src/tensor/tensor.ts";

const ROWS = 2;
const LENGTH = 64;
const WIDTH = 96;
const COUNT = ROWS * LENGTH * WIDTH;
const SHAPE = [ROWS, LENGTH, WIDTH];

let runtime: Runtime;
beforeAll(() => {
  runtime = openRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

function draw(seed: number): Int32Array {
  const generator = random(seed, "noise");
  return Int32Array.from({ length: ROWS * LENGTH }, () => generator.uint32() | 0);
}

/** Output on all ones, and d/dx Σ dy∘y for the upstream gradient dy = 0, 1, 2, …. */
async function run(rate: number, noise: Int32Array, stream: string) {
  const x = input("x", "float32", SHAPE);
  const dy = constant(
    floats(
      Float32Array.from({ length: COUNT }, (_, i) => i),
      SHAPE,
    ),
  );
  const y = dropout(x, rate, input("noise", "int32", [ROWS, LENGTH, 1]), stream);
  const [dx] = gradients(sumAll(mul(y, dy)), [x]);
  const session = await runtime.load({ y, ...(dx ? { dx } : {}) });
  const got = await session.run({
    x: floats(new Float32Array(COUNT).fill(1), SHAPE),
    noise: ints(noise, [ROWS, LENGTH, 1]),
  });
  await session.close();
  return { y: got.y?.data as Float32Array, dx: got.dx?.data as Float32Array };
}

const kept = (y: Float32Array): Uint8Array => Uint8Array.from(y, (v) => (v === 0 ? 0 : 1));
const agreement = (a: Uint8Array, b: Uint8Array): number => a.filter((v, i) => v === b[i]).length / a.length;

describe.each([0.1, 0.5, 0.9])("rate %s", (rate) => {
  // Five standard deviations of a fair draw of n elements: a sound mask fails once in two million.
  const tolerance = (n: number): number => 5 * Math.sqrt((rate * (1 - rate)) / n);

  test("keeps 1 − rate of the elements, scaled by its inverse", async () => {
    const { y } = await run(rate, draw(1), "a");
    const values = [...new Set(y)].sort();
    expect(values).toEqual([0, Math.fround(1 / (1 - rate))]);
    const share = kept(y).reduce((a, b) => a + b, 0) / COUNT;
    expect(Math.abs(share - (1 - rate))).toBeLessThan(tolerance(COUNT));
  });

  test("keeps that share in every token and every feature", async () => {
    const mask = kept((await run(rate, draw(2), "a")).y);
    const tokens = ROWS * LENGTH;
    for (let t = 0; t < tokens; t++) {
      const share = mask.slice(t * WIDTH, (t + 1) * WIDTH).reduce((a, b) => a + b, 0) / WIDTH;
      expect(Math.abs(share - (1 - rate)), `token ${t}`).toBeLessThan(tolerance(WIDTH));
    }
    for (let f = 0; f < WIDTH; f++) {
      const share = mask.filter((_, i) => i % WIDTH === f).reduce((a, b) => a + b, 0) / tokens;
      expect(Math.abs(share - (1 - rate)), `feature ${f}`).toBeLessThan(tolerance(tokens));
    }
  });

  test("other places, steps, tokens and features are dropped independently", async () => {
    const mask = kept((await run(rate, draw(3), "a")).y);
    const independent = rate * rate + (1 - rate) * (1 - rate);
    const spread = 5 * Math.sqrt((independent * (1 - independent)) / (COUNT - WIDTH));
    const others = {
      place: kept((await run(rate, draw(3), "b")).y),
      step: kept((await run(rate, draw(4), "a")).y),
    };
    for (const [what, other] of Object.entries(others))
      expect(Math.abs(agreement(mask, other) - independent), what).toBeLessThan(spread);
    for (const [what, shift] of Object.entries({ feature: 1, token: WIDTH })) {
      const [here, there] = [mask.slice(0, COUNT - shift), mask.slice(shift)];
      expect(Math.abs(agreement(here, there) - independent), what).toBeLessThan(spread);
    }
  });

  test("its gradient passes where the forward passed", async () => {
    const { y, dx } = await run(rate, draw(5), "a");
    expect(dx).toEqual(y.map((v, i) => v * i));
  });
});

test("the same noise drops the same elements", async () => {
  expect((await run(0.3, draw(6), "a")).y).toEqual((await run(0.3, draw(6), "a")).y);
});

test("rate 0 is the input itself", () => {
  const x = input("x", "float32", SHAPE);
  expect(dropout(x, 0, input("noise", "int32", [ROWS, LENGTH, 1]), "a")).toBe(x);
});
