import { pullback, topologicalOrder } from "./gradients.ts";
import { add, mul } from "./ops/arithmetic.ts";
import { sumAll } from "./ops/reduce.ts";
import { compose, type Node, type Value } from "./value.ts";

function mayHaveGradient({ dtype, node }: Value): boolean {
  return dtype === "float32" && (node.source === null || node.source.kind === "input");
}

/** Values that `build` takes from outside, beside `inputs`, and that may carry a gradient: what two of its results have in
 *  common. */
export function outsideValues(body: Value, twin: Value, inputs: readonly Value[]): Value[] {
  const nodesOf = (v: Value): Node[] => topologicalOrder([v], (n) => n.inputs);
  const shared = new Set(nodesOf(twin));
  const outside = nodesOf(body)
    .filter((n) => !shared.has(n))
    .flatMap((n) => n.inputs.filter((v) => v !== null))
    .filter((v) => shared.has(v.node) && mayHaveGradient(v) && !inputs.includes(v));
  return [...new Set(outside)];
}

/** build(inputs) [any shape], the inside of which is not kept for the backward pass but computed again from `inputs` once its
 *  gradient is there (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"). Values and gradients are the same.
 *  `zero` is a graph input [] that is fed 0: the second computation starts from input + zero·Σ dy, so that the runtime can
 *  neither merge it with the first nor do it early. */
export function recomputed(
  inputs: readonly Value[],
  build: (...inputs: readonly Value[]) => Value,
  zero: Value,
): Value {
  const body = build(...inputs);
  const outside = outsideValues(body, build(...inputs), inputs);
  return compose([...inputs, ...outside], body, (dy) => {
    const late = mul(zero, sumAll(dy));
    const again = inputs.map((x) => add(x, late));
    return pullback(build(...again), dy, [...again, ...outside]);
  });
}
