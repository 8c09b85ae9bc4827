import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { constant, input, type Value } from "../../src/graph/value.ts";
import { adamw } from "../../src/optim/adamw.ts";
import { clipByNorm, globalNorm } from "../../src/optim/clip.ts";
import type { Optimizer } from "../../src/optim/optimizer.ts";
import { sgd } from "../../src/optim/sgd.ts";
import { openRuntime, type Runtime } from "../../src/runtime/runtime.ts";
import { floats, scalar, type Tensor } from "../../src/tensor/tensor.ts";
import { numbers, type PlainTensor, readFixture, relativeError, toTensor } from "./harness.ts";

interface AdamWFixture {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  readonly parameter: PlainTensor;
  readonly steps: readonly {
    readonly lr: number;
    readonly gradient: PlainTensor;
    readonly parameter: PlainTensor;
    readonly m: PlainTensor;
    readonly v: PlainTensor;
  }[];
}

interface ClipCase {
  readonly name: string;
  readonly maxNorm: number;
  readonly gradients: readonly PlainTensor[];
  readonly norm: number;
  readonly clipped: readonly PlainTensor[];
}

interface SgdFixture {
  readonly momentum: number;
  readonly weightDecay: number;
  readonly parameter: PlainTensor;
  readonly steps: readonly {
    readonly lr: number;
    readonly gradient: PlainTensor;
    readonly parameter: PlainTensor;
    readonly momentum: PlainTensor;
  }[];
}

const fixture = readFixture<{ adamw: AdamWFixture; sgd: SgdFixture; clip: readonly ClipCase[] }>(
  "ops/optimizer.json",
);

// Element by element, relative: fp32 rounding (6e-8) of a dozen operations, times 25 where the moments' terms cancel.
// Gradients span nine orders of magnitude: a tolerance relative to the largest element would hide the small ones.
const ELEMENT = 1e-5;
// The norm is a sum of fourteen squares and a root.
const NORM = 1e-6;

function expectClose(got: Tensor, want: PlainTensor, what: string): void {
  numbers(got).forEach((g, i) => {
    const w = want.data[i] as number;
    expect(Math.abs(g - w), `${what}[${i}]: ${g} for ${w}`).toBeLessThanOrEqual(ELEMENT * Math.abs(w));
  });
}

let runtime: Runtime;
beforeAll(() => {
  runtime = openRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

function adamwGraph(decay: Value | null = null) {
  const { parameter } = fixture.adamw;
  const flat = (name: string): Value => input(name, "float32", parameter.shape);
  const scalars = {
    learningRate: input("learningRate", "float32", []),
    correction1: input("correction1", "float32", []),
    correction2: input("correction2", "float32", []),
  };
  const state = { theta: flat("theta"), m: flat("m"), v: flat("v") };
  const next = adamw(state, flat("gradient"), scalars, fixture.adamw, decay);
  return { "theta.next": next.theta, "m.next": next.m, "v.next": next.v };
}

test("AdamW is torch.optim.AdamW over six steps, one of them with learning rate 0", async () => {
  const { beta1, beta2, parameter, steps } = fixture.adamw;
  const session = await runtime.load(adamwGraph());
  const zeros = floats(new Float32Array(parameter.data.length), parameter.shape);
  let state: Record<string, Tensor> = { theta: toTensor(parameter), m: zeros, v: zeros };
  for (const [i, step] of steps.entries()) {
    const corrections = {
      correction1: scalar(1 - beta1 ** (i + 1)),
      correction2: scalar(1 - beta2 ** (i + 1)),
    };
    const feeds = { gradient: toTensor(step.gradient), learningRate: scalar(step.lr), ...corrections };
    const got = await session.run({ ...state, ...feeds });
    state = { theta: got["theta.next"] as Tensor, m: got["m.next"] as Tensor, v: got["v.next"] as Tensor };
    expectClose(state.theta as Tensor, step.parameter, `parameter after step ${i + 1}`);
    expectClose(state.m as Tensor, step.m, `first moment after step ${i + 1}`);
    expectClose(state.v as Tensor, step.v, `second moment after step ${i + 1}`);
  }
  await session.close();
});

test("gradient descent is torch.optim.SGD over six steps; without momentum it keeps no vector", async () => {
  const { parameter, steps, ...constants } = fixture.sgd;
  const flat = (name: string): Value => input(name, "float32", parameter.shape);
  const graphOf = (optimizer: Optimizer): Record<string, Value> => {
    const vectors = Object.fromEntries(optimizer.vectors.map((name) => [name, flat(name)]));
    const rate = input("learningRate", "float32", []);
    const next = optimizer.apply({ theta: flat("theta"), vectors }, flat("gradient"), rate, {});
    return { theta: next.theta, ...next.vectors };
  };
  const renamed = (graph: Record<string, Value>): Record<string, Value> =>
    Object.fromEntries(Object.entries(graph).map(([name, value]) => [`${name}.next`, value]));
  const session = await runtime.load(renamed(graphOf(sgd(constants))));
  let state: Record<string, Tensor> = {
    theta: toTensor(parameter),
    momentum: floats(new Float32Array(parameter.data.length), parameter.shape),
  };
  for (const [i, step] of steps.entries()) {
    const got = await session.run({
      ...state,
      gradient: toTensor(step.gradient),
      learningRate: scalar(step.lr),
    });
    state = { theta: got["theta.next"] as Tensor, momentum: got["momentum.next"] as Tensor };
    expectClose(state.theta as Tensor, step.parameter, `parameter after step ${i + 1}`);
    expectClose(state.momentum as Tensor, step.momentum, `momentum after step ${i + 1}`);
  }
  await session.close();
  const plain = sgd({ momentum: 0, weightDecay: 0 });
  expect(plain.vectors).toEqual([]);
  expect(Object.keys(graphOf(plain))).toEqual(["theta"]);
});

test("weight decay can be left out element by element", async () => {
  const { parameter } = fixture.adamw;
  const size = parameter.data.length;
  const decay = constant(
    floats(
      Float32Array.from({ length: size }, (_, i) => i % 2),
      [size],
    ),
  );
  const session = await runtime.load(adamwGraph(decay));
  const zeros = floats(new Float32Array(size), [size]);
  const one = { learningRate: scalar(1), correction1: scalar(1), correction2: scalar(1) };
  const got = await session.run({ theta: toTensor(parameter), m: zeros, v: zeros, gradient: zeros, ...one });
  const kept = parameter.data.map((p, i) => (i % 2 === 0 ? p : p * (1 - fixture.adamw.weightDecay)));
  expectClose(got["theta.next"] as Tensor, { ...parameter, data: kept }, "parameter");
  await session.close();
});

describe.each(fixture.clip)("clipping: $name", (c) => {
  test("the norm over all tensors, and the gradient scaled as torch.nn.utils.clip_grad_norm_", async () => {
    const flat = c.gradients.flatMap((g) => g.data);
    const gradient = input("gradient", "float32", [flat.length]);
    const norm = globalNorm(gradient);
    const session = await runtime.load({ norm, clipped: clipByNorm(gradient, norm, c.maxNorm) });
    const got = await session.run({ gradient: floats(Float32Array.from(flat), [flat.length]) });
    expect(relativeError(numbers(got.norm as Tensor), [c.norm])).toBeLessThan(NORM);
    const clipped = c.clipped.flatMap((g) => g.data);
    expect(relativeError(numbers(got.clipped as Tensor), clipped)).toBeLessThan(NORM);
    await session.close();
  });
});

// A single float32 sum over so many squares comes out 1.2e-4 too low; two stages of √N terms stay at fp32 rounding.
test.each([1, 2, 3, 5_000_001])("the norm of %i elements is exact to fp32 rounding", async (size) => {
  const data = Float32Array.from({ length: size }, (_, i) => 0.5 + ((i * 7919) % 1000) / 1000);
  const exact = Math.sqrt(data.reduce((sum, x) => sum + x * x, 0));
  const session = await runtime.load({ norm: globalNorm(input("gradient", "float32", [size])) });
  const { norm } = await session.run({ gradient: floats(data, [size]) });
  await session.close();
  expect(Math.abs(((norm as Tensor).data[0] as number) / exact - 1)).toBeLessThan(1e-6);
});
