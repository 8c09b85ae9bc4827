import { add, detach, div, linear, matmul, mul, scale, sqrt, sub, sum } from "../../graph/ops/index.ts";
import { int64s } from "../../graph/ops/reduce.ts";
import { apply, type Dim, type Value } from "../../graph/value.ts";
import type { ForwardContext } from "../../models/context.ts";
import { type FloatTensor, sizeOf } from "../../tensor/tensor.ts";
import type { Trainable } from "../method.ts";
import type { LoraModule } from "./lora-plan.ts";

/** Trained values of a module. */
export interface DoraValues {
  /** [rank, in] */
  readonly a: Value;
  /** [out, rank] */
  readonly b: Value;
  /** [out] */
  readonly magnitude: Value;
}

/** A weight and its update. */
export interface UpdatedWeight {
  readonly kind: LoraModule["kind"];
  /** [out, in]; of an embedding [vocab, dim] = [in, out]. */
  readonly weight: Value;
  readonly a: Value;
  readonly b: Value;
  /** [] */
  readonly scaling: Value | number;
}

function scaled(x: Value, by: Value | number): Value {
  return typeof by === "number" ? scale(x, by) : mul(x, by);
}

/** ‖W + s·B·A‖² of each output [out], without forming the sum:
 *  ‖w‖² + 2s·b·(A·w) + s²·b·(A·Aᵀ)·b for its row w of W and b of B. */
function squaredNorms({ kind, weight, a, b, scaling }: UpdatedWeight): Value {
  const isLinear = kind === "linear";
  const out = weight.shape[isLinear ? 0 : 1] as Dim;
  const own = apply("ReduceSumSquare", [weight, int64s([isLinear ? 1 : 0])], [out], { keepdims: 0 }, null);
  const crossed = matmul(weight, a, { transA: !isLinear, transB: true }); // W·Aᵀ [out, rank]
  const gram = matmul(a, a, { transB: true });
  const mixed = scaled(add(scale(crossed, 2), scaled(matmul(b, gram), scaling)), scaling);
  return add(own, sum(mul(b, mixed), [1]));
}

/** m / ‖W + s·B·A‖ for each output [out] (DoRA, arXiv 2402.09353, eq. 5). The norm counts as a constant in the gradient
 *  (§4.3), as in PEFT. */
export function magnitudeRatio(magnitude: Value, updated: UpdatedWeight): Value {
  return div(magnitude, detach(sqrt(squaredNorms(updated))));
}

/** m/n · (W·x + s·B·A·x) + bias, n = ‖W + s·B·A‖. With dropout PEFT's W·x + (m/n − 1)·W·x' + m/n·s·B·A·x', x' what
 *  dropout leaves of x. x [R, T, in] → [R, T, out]. */
export function doraLinear(
  ctx: ForwardContext,
  m: LoraModule,
  x: Value,
  dropped: Value,
  { a, b, magnitude }: DoraValues,
): Value {
  const { weight, bias } = ctx.linearWeights(m.path);
  const ratio = magnitudeRatio(magnitude, { kind: "linear", weight, a, b, scaling: m.scaling });
  const update = linear(linear(dropped, a), b, m.scaling);
  const whole = ctx.linear(m.path, dropped);
  const plain = bias ? sub(whole, bias) : whole;
  const directed = mul(add(plain, update), ratio);
  if (dropped === x) return bias ? add(directed, bias) : directed;
  return add(ctx.linear(m.path, x), sub(directed, plain));
}

/** `h` [R, T, dim], rows of W + s·(B·A)ᵀ, scaled to the magnitude of each dimension. */
export function doraEmbedding(
  ctx: ForwardContext,
  m: LoraModule,
  h: Value,
  { a, b, magnitude }: DoraValues,
): Value {
  const weight = ctx.weight(m.weight);
  return mul(h, magnitudeRatio(magnitude, { kind: "embedding", weight, a, b, scaling: m.scaling }));
}

/** The magnitude starts as the norm of the weight of each output, so that nothing changes at first. */
export function magnitudeTrainable(m: LoraModule): Trainable {
  return {
    name: `${m.path}.magnitude`,
    shape: [m.outSize],
    init: async (_g, base) => outputNorms(await base(m.weight), m.kind),
  };
}

function outputNorms({ data, shape }: FloatTensor, kind: LoraModule["kind"]): Float32Array {
  const [rows, columns] = shape as [number, number];
  const sums = new Float64Array(kind === "linear" ? rows : columns);
  for (let i = 0; i < sizeOf(shape); i++) {
    const at = kind === "linear" ? Math.floor(i / columns) : i % columns;
    sums[at] = (sums[at] as number) + (data[i] as number) ** 2;
  }
  return Float32Array.from(sums, Math.sqrt);
}
