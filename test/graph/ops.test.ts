import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { UnsupportedError } from "../../src/errors.ts";
import { gradients } from "../../src/graph/gradients.ts";
import { webgpuLowering } from "../../src/graph/lower/webgpu.ts";
import * as op from "../../src/graph/ops/index.ts";
import { input, type Value } from "../../src/graph/value.ts";
import { createRuntime } from "../../src/runtime/create-runtime.ts";
import { graphFiles } from "../../src/runtime/graph-file.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { openThread } from "../../src/runtime/thread.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import {
  type Build,
  type BuiltCase,
  buildCase,
  finiteDifferences,
  numbers,
  type OpCase,
  readFixture,
  relativeError,
  toTensor,
} from "./harness.ts";

// All relative to the largest value of the tensor compared. Fixture values are exact to fp32, so what is left is fp32
// rounding (6e-8 each) over sums of up to 50 terms that partly cancel, and the engine's polynomial exp, erf and tanh.
// Largest seen on an x86 CPU: forward 1.1e-6, gradients 6e-7.
const FORWARD = 2e-6;
const GRADIENT = 2e-6;
// Differences over steps of 1e-2: fp32 rounding of the outputs over the step width, about 1e-5, and the truncation h⁴ that
// extrapolation leaves. Largest seen: 2.3e-4 (cross-entropy, whose value is 100 times its slopes).
const DIFFERENCES = 1e-3;

const number = (c: OpCase, key: string): number => c.attributes[key] as number;
const list = (c: OpCase, key: string): readonly number[] => c.attributes[key] as readonly number[];
const sizes = (c: OpCase) =>
  c.attributes as unknown as { headCount: number; kvHeadCount: number; headDim: number };

/** Inputs in argument order, for ops that take nothing else. */
function plain(fn: (...values: Value[]) => Value): Build {
  return (inputs) => fn(...Object.values(inputs));
}

const v = (inputs: Readonly<Record<string, Value>>, name: string): Value => inputs[name] as Value;

function rotaryTables(c: OpCase): op.RotaryTables {
  const [cos, sin] = [c.inputs.cos, c.inputs.sin] as [OpCase["outputs"][0], OpCase["outputs"][0]];
  return op.rotaryConstants(Float32Array.from(cos.data), Float32Array.from(sin.data), cos.shape[1] as number);
}

function crossEntropy(x: Readonly<Record<string, Value>>, c: OpCase): Value {
  const summed = op.crossEntropy(v(x, "logits"), v(x, "labels"), v(x, "weights"), number(c, "smoothing"));
  return c.attributes.mean ? op.div(summed, op.sumAll(v(x, "weights"))) : summed;
}

function stem(x: Readonly<Record<string, Value>>): op.Stem {
  return op.stemOf(v(x, "columns"), v(x, "rows"), v(x, "ends"));
}

/** How each op of the fixtures is written here. Keys that are no export are compositions. */
const BUILD: Readonly<Record<string, Build>> = {
  add: plain(op.add),
  sub: plain(op.sub),
  mul: plain(op.mul),
  div: plain(op.div),
  min: plain(op.min),
  neg: plain(op.neg),
  exp: plain(op.exp),
  log: plain(op.log),
  sqrt: plain(op.sqrt),
  square: plain(op.square),
  tanh: plain(op.tanh),
  sigmoid: plain(op.sigmoid),
  silu: plain(op.silu),
  gelu: plain(op.gelu),
  geluTanh: plain(op.geluTanh),
  relu: plain(op.relu),
  sign: plain(op.sign),
  scale: (x, c) => op.scale(v(x, "x"), number(c, "factor")),
  zeros: plain(op.zeros),
  ones: plain(op.ones),
  matmul: (x, c) => op.matmul(v(x, "a"), v(x, "b"), c.attributes as op.MatmulOptions),
  linear: (x, c) => op.linear(v(x, "x"), v(x, "weight"), number(c, "alpha")),
  loraLinear: (x, c) =>
    op.add(
      op.linear(v(x, "x"), v(x, "weight")),
      op.linear(op.linear(v(x, "x"), v(x, "loraA")), v(x, "loraB"), number(c, "scaling")),
    ),
  transpose: (x, c) => op.transpose(v(x, "x"), list(c, "order")),
  reshape: (x, c) => op.reshape(v(x, "x"), list(c, "shape")),
  reshapeLike: plain(op.reshapeLike),
  foldRows: plain(op.foldRows),
  expandLike: plain(op.expandLike),
  slice: (x, c) => op.slice(v(x, "x"), number(c, "axis"), number(c, "start"), number(c, "end")),
  concat: (x, c) => op.concat(Object.values(x), number(c, "axis")),
  split: (x, c) => {
    const pieces = op.split(v(x, "x"), list(c, "sizes"), number(c, "axis"));
    return list(c, "used").map((i) => pieces[i] as Value);
  },
  gather: plain(op.gather),
  sum: (x, c) => op.sum(v(x, "x"), list(c, "axes"), c.attributes.keep as boolean),
  mean: (x, c) => op.mean(v(x, "x"), list(c, "axes"), c.attributes.keep as boolean),
  sumAll: plain(op.sumAll),
  sumTo: (x, c) => op.sumTo(v(x, "x"), list(c, "shape")),
  total: (x) => op.total(Object.values(x)),
  softmax: plain(op.softmax),
  logSoftmax: plain(op.logSoftmax),
  maskedSoftmax: (x) => op.softmax(op.add(v(x, "x"), v(x, "mask"))),
  rmsNorm: (x, c) => op.rmsNorm(v(x, "x"), v(x, "gamma"), number(c, "epsilon")),
  layerNorm: (x, c) => op.layerNorm(v(x, "x"), v(x, "gamma"), v(x, "beta"), number(c, "epsilon")),
  rotary: (x, c) => op.rotary(v(x, "x"), v(x, "positions"), rotaryTables(c)),
  swiglu: (x) => op.mul(op.silu(v(x, "gate")), v(x, "up")),
  trieMask: (x, c) => {
    const tokens = { columns: v(x, "columns"), ends: v(x, "ends"), positions: x.positions ?? v(x, "ends") };
    return op.trieMask(tokens, tokens, "window" in c.attributes ? number(c, "window") : null);
  },
  splitEvenly: (x, c) => {
    const pieces = op.splitEvenly(v(x, "x"), number(c, "count"), number(c, "axis"));
    return "piece" in c.attributes
      ? (pieces[number(c, "piece")] as Value)
      : op.concat(pieces.toReversed(), number(c, "axis"));
  },
  sequenceMask: (x) => op.sequenceMask(v(x, "ends")),
  openColumns: (x, c) => {
    const mask = v(x, "mask");
    return op.openColumns(mask, number(c, "count"), number(c, "count") + (mask.shape[3] as number));
  },
  prefixColumns: (x, c) => {
    const mask = v(x, "mask");
    const size = number(c, "count") + (mask.shape[3] as number);
    const window = { size: number(c, "window"), positions: v(x, "positions") };
    return op.prefixColumns(mask, number(c, "count"), size, window);
  },
  groupMask: (x, c) => op.groupMask(v(x, "mask"), sizes(c)),
  attention: (x, c) =>
    op.attention(v(x, "q"), v(x, "k"), v(x, "v"), op.groupMask(v(x, "mask"), sizes(c)), sizes(c)),
  stemRows: (x) => op.stemRows(v(x, "x"), stem(x)),
  behindStem: (x) => op.behindStem(op.stemRows(v(x, "x"), stem(x)), v(x, "x"), stem(x)),
  stemMask: (x, c) => {
    const queries = { columns: v(x, "columns"), ends: v(x, "ends"), positions: v(x, "positions") };
    return op.stemMask(v(x, "mask"), stem(x), queries, "window" in c.attributes ? number(c, "window") : null);
  },
  crossEntropy,
  topIsLabel: plain(op.topIsLabel),
  labelLogProbability: plain(op.labelLogProbability),
};

const PAST = "test/models/decoding.test.ts: against attention without a cache, on every family";

/** Exports without a case of their own, and what covers them. */
const COVERED_BY = new Map([
  ...["blockAttention", "blockSizes", "byHead", "freshMask", "pastMask"].map((name) => [name, PAST] as const),
  ["blockMatrix", "test/models/quantized-base.test.ts: against the same matrix as floats, both ways"],
  ["repeatDim", "test/graph/stack-rows.test.ts and every graph with a named dimension: it makes no node"],
  ["detach", "test/graph/gradients.test.ts: the identity, but for its gradient"],
  ["dropout", "test/graph/dropout.test.ts: it is random"],
  ["stackRows", "test/graph/stack-rows.test.ts: against the matrices apart"],
  ["stemOf", "the cases `stemRows`, `behindStem` and `stemMask`: makes their stems"],
  ["rotaryConstants", "the case `rotary`: makes its tables"],
]);

const { cases } = readFixture<{ cases: OpCase[] }>("ops/ops.json");
const isDifferentiable = (c: OpCase): boolean => Object.keys(c.gradients).length > 0;

/** The processor, with graphs as they are and in the operators that WebGPU has. */
const RUNTIMES = {
  "as it is": null,
  "in WebGPU's operators": webgpuLowering,
};

/** Operators with a rule for some of their uses. */
const STAYS = new Set(["SimplifiedLayerNormalization", "Split", "Slice"]);

describe.each(Object.entries(RUNTIMES))("%s", (_, lowering) => {
  let runtime: Runtime;
  beforeAll(() => {
    runtime = createRuntime(openThread("cpu", 1), graphFiles(), { device: "cpu", threads: 1, lowering });
  });
  afterAll(() => runtime.close());

  async function ready(c: OpCase): Promise<BuiltCase> {
    const build = BUILD[c.op];
    if (!build) throw new Error(`no builder for op "${c.op}"`);
    return buildCase(runtime, c, build);
  }

  describe.each(cases)("$name", (c) => {
    test("forward and gradients are PyTorch's", async () => {
      const { session, feeds } = await ready(c);
      const got = await session.run(feeds);
      c.outputs.forEach((want, i) => {
        const y = got[`y${i}`] as Tensor;
        expect(y.shape, "shape of the output").toEqual(want.shape);
        expect(relativeError(numbers(y), want.data), `output ${i}`).toBeLessThan(FORWARD);
      });
      for (const [name, want] of Object.entries(c.gradients)) {
        const dx = got[`d ${name}`] as Tensor;
        expect(dx.shape, `shape of the gradient of ${name}`).toEqual(want.shape);
        expect(relativeError(numbers(dx), want.data), `gradient of ${name}`).toBeLessThan(GRADIENT);
      }
      await session.close();
    });
  });

  describe.each(cases.filter(isDifferentiable))("$name", (c) => {
    test("gradients are finite differences", async () => {
      const built = await ready(c);
      const got = await built.session.run(built.feeds);
      for (const name of Object.keys(c.gradients)) {
        const slopes = await finiteDifferences(built, c, name);
        expect(relativeError(numbers(got[`d ${name}`] as Tensor), slopes), name).toBeLessThan(DIFFERENCES);
      }
      await built.session.close();
    });
  });

  test("no operator is left that the device lacks", async () => {
    if (!lowering) return;
    const left = new Set<string>();
    for (const c of cases) {
      const { session } = await ready(c);
      for (const operator of session.graph.opCounts.keys())
        if (operator in lowering.rules && !STAYS.has(operator)) left.add(operator);
      await session.close();
    }
    expect([...left]).toEqual([]);
  });
});

test("shapes known when the graph is built are those that come out", async () => {
  for (const c of cases) {
    const inputs = Object.fromEntries(
      Object.entries(c.inputs).map(([n, t]) => [n, input(n, t.dtype, t.shape)]),
    );
    const ys = [(BUILD[c.op] as Build)(inputs, c)].flat() as Value[];
    expect(
      ys.map((y) => y.shape),
      c.name,
    ).toEqual(c.outputs.map((o) => o.shape));
  }
});

test("every exported op has a case", () => {
  const covered = new Set([...cases.map((c) => c.op), ...COVERED_BY.keys()]);
  const ops = Object.entries(op).filter(([, value]) => typeof value === "function");
  const missing = ops.map(([name]) => name).filter((name) => !covered.has(name));
  expect(missing, "add a case to test/fixtures/ops/make.py and a line to BUILD").toEqual([]);
});

test("every case that has gradients is of an op declared differentiable, and no other", () => {
  const declared = [
    "labelLogProbability",
    "min",
    "ones",
    "openColumns",
    "prefixColumns",
    "sequenceMask",
    "sign",
    "stemMask",
    "topIsLabel",
    "trieMask",
    "zeros",
  ];
  const found = new Set(cases.filter((c) => !isDifferentiable(c)).map((c) => c.op));
  expect([...found].sort()).toEqual(declared);
});

test("asking for the gradient of an op that has none is an error that names it", () => {
  const x = input("x", "float32", [2]);
  expect(() => gradients(op.sumAll(op.sign(x)), [x])).toThrow(new UnsupportedError("Sign has no gradient"));
});

test("fixtures hold what they say", () => {
  for (const c of cases)
    for (const t of [...Object.values(c.inputs), ...c.outputs])
      expect(toTensor(t).data.length).toBe(t.data.length);
});
