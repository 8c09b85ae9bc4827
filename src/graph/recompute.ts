import { pullback, topologicalOrder } from "./gradients.ts";
import { add, mul } from "./ops/arithmetic.ts";
import { sumAll } from "./ops/reduce.ts";
import { compose, type Node, type Value } from "./value.ts";

function mayHaveGradient({ dtype, node }: Value): boolean {
  return dtype === "float32" && (node.source === null || node.source.kind === "input");
}

/** Values from outside that `body` is computed with, beside `inputs`: those that may carry a gradient. */
function freeValues(body: Value, inputs: readonly Value[]): Value[] {
  const sources = new Set(inputs.map((v) => v.node));
  const inside = new Set<Node>(sources);
  const free = new Set<Value>();
  for (const node of topologicalOrder([body], (n) => (sources.has(n) ? [] : n.inputs))) {
    if (sources.has(node) || !node.inputs.some((v) => v && inside.has(v.node))) continue;
    inside.add(node);
    for (const v of node.inputs) if (v && mayHaveGradient(v)) free.add(v);
  }
  return [...free].filter((v) => !inside.has(v.node));
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
  const free = freeValues(body, inputs);
  return compose([...inputs, ...free], body, (dy) => {
    const late = mul(zero, sumAll(dy));
    const again = inputs.map((x) => add(x, late));
    return pullback(build(...again), dy, [...again, ...free]);
  });
}
