import { add, concat, mul, reshape, sub } from "../graph/ops/index.ts";
import { apply, constant, input, scalarConstant, type Value } from "../graph/value.ts";
import { type ClipOptions, clipByNorm, globalNorm, squaredNorm } from "../optim/clip.ts";
import type { OptimizerState } from "../optim/optimizer.ts";
import { createOptimizer, type OptimizerChoice } from "../optim/table.ts";
import type { Trainable } from "../peft/method.ts";
import { parameterCount, viewsOf } from "../peft/parameters.ts";
import { type AdaptedModel, trainablesOf } from "../peft/use/adapted-model.ts";
import { floats, sizeOf } from "../tensor/tensor.ts";

/** Constants of an update. */
export type UpdateOptions = OptimizerChoice & ClipOptions;

/** Factor on the learning rate of every element of θ; null where all are 1. */
export function rateFactors(model: AdaptedModel): Float32Array | null {
  const trainables = trainablesOf(model.methods);
  const factorOf = (t: Trainable): number => (t.fixed ? 0 : (t.rateFactor ?? 1));
  if (trainables.every((t) => factorOf(t) === 1)) return null;
  const factors = new Float32Array(parameterCount(trainables));
  let offset = 0;
  for (const t of trainables) {
    factors.fill(factorOf(t), offset, offset + sizeOf(t.shape));
    offset += sizeOf(t.shape);
  }
  return factors;
}

/** Name of a method's number that changes with the step. */
export function scalarName(method: number, name: string): string {
  return `after.${method}.${name}`;
}

/** θ after what methods do to it once the optimizer is through. */
function afterUpdates(model: AdaptedModel, theta: Value, gradient: Value): Value {
  if (model.methods.every((m) => m.afterUpdate === null)) return theta;
  const trainables = trainablesOf(model.methods);
  const [values, slopes] = [viewsOf(theta, trainables), viewsOf(gradient, trainables)];
  const next = new Map(values);
  for (const [i, { afterUpdate }] of model.methods.entries()) {
    const scalars = new Map<string, Value>();
    const scalar = (n: string): Value => {
      const value = scalars.get(n) ?? input(scalarName(i, n), "float32", []);
      scalars.set(n, value);
      return value;
    };
    const changed = afterUpdate?.apply({
      trainable: (n) => values.get(n) as Value,
      gradient: (n) => slopes.get(n) as Value,
      scalar,
    });
    for (const [name, value] of changed ?? []) next.set(name, value);
  }
  return concat(
    trainables.map((t) => reshape(next.get(t.name) as Value, [sizeOf(t.shape)])),
    0,
  );
}

/** Name of one of the optimizer's numbers that change with the update. */
export function optimizerScalarName(name: string): string {
  return `optimizer.${name}`;
}

/** The optimizer on vectors [size] by their names, from the clipped gradient. */
function stepped(size: number, clipped: Value, rates: Value | null, options: UpdateOptions): OptimizerState {
  const optimizer = createOptimizer(options);
  const vector = (name: string): Value => input(name, "float32", [size]);
  const rate = input("learningRate", "float32", []);
  const scalars = Object.keys(optimizer.scalars(1)).map((name): [string, Value] => [
    name,
    input(optimizerScalarName(name), "float32", []),
  ]);
  const state = {
    theta: vector("theta"),
    vectors: Object.fromEntries(optimizer.vectors.map((name) => [name, vector(name)])),
  };
  return optimizer.apply(state, clipped, rates ? mul(rate, rates) : rate, Object.fromEntries(scalars));
}

/** What is kept of an update. g − g is +0 for every number: the next window starts from it, and no vector of |Θ| zeros comes
 *  from the host. */
function carried({ theta, vectors }: OptimizerState, gradient: Value): Record<string, Value> {
  const kept = { theta, ...vectors, gradient: sub(gradient, gradient) };
  return Object.fromEntries(Object.entries(kept).map(([name, value]) => [`${name}.next`, value]));
}

/** One optimizer update from the summed gradient. Outputs the new state, the norm before clipping, and `finite`: whether
 *  loss, norm and new parameters are numbers, without which the new state (a cleared gradient is part of it) must not be
 *  kept. */
export function updateGraph(model: AdaptedModel, options: UpdateOptions): Record<string, Value> {
  const size = parameterCount(trainablesOf(model.methods));
  const gradient = input("gradient", "float32", [size]);
  const norm = globalNorm(gradient);
  const clipped = options.clipNorm === null ? gradient : clipByNorm(gradient, norm, options.clipNorm);
  const factors = rateFactors(model);
  const state = stepped(size, clipped, factors && constant(floats(factors, [size])), options);
  const next = { ...state, theta: afterUpdates(model, state.theta, clipped) };
  // Infinity or NaN anywhere makes the sum so. A comparison with NaN is false, and so is one of infinity with the largest
  // float. Parameters beyond 10¹⁹ are lost as well, long before they overflow.
  const total = add(add(norm, input("loss", "float32", [])), globalNorm(next.theta));
  const finite = apply("Less", [total, scalarConstant(3.4e38)], [], {}, null, "bool");
  return { ...carried(next, gradient), gradNorm: norm, finite };
}

/** Σ g² of a stretch of the gradient [size]: `squares`. */
export function squaresGraph(size: number): Record<string, Value> {
  return { squares: squaredNorm(input("gradient", "float32", [size])) };
}

/** The update of a stretch of the state [size], given the norm of the whole gradient. Outputs the new state and `squares`,
 *  Σ θ² of the new parameters. `hasRates`: factors on the learning rate are an input. */
export function stretchGraph(size: number, hasRates: boolean, options: UpdateOptions): Record<string, Value> {
  const gradient = input("gradient", "float32", [size]);
  const { clipNorm } = options;
  const clipped = clipNorm === null ? gradient : clipByNorm(gradient, input("norm", "float32", []), clipNorm);
  const state = stepped(size, clipped, hasRates ? input("rates", "float32", [size]) : null, options);
  return { ...carried(state, gradient), squares: squaredNorm(state.theta) };
}
