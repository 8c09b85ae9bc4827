import { UnsupportedError } from "../errors.ts";
import { add } from "./ops/arithmetic.ts";
import { ones } from "./ops/shape.ts";
import { buildBackward, type Gradient, type Node, type Value } from "./value.ts";

/** Nodes that `outputs` depend on, each after its inputs. `inputsOf` chooses the calculus' view (a composition's stated
 *  inputs) or the serializer's (the nodes inside it). Iterative: a deep model overflows a recursive walk. */
export function topologicalOrder(
  outputs: readonly Value[],
  inputsOf: (node: Node) => readonly (Value | null)[],
): Node[] {
  const order: Node[] = [];
  const state = new Map<Node, "open" | "done">();
  const stack = outputs.map((v) => v.node).reverse();
  while (stack.length > 0) {
    const node = stack.at(-1) as Node;
    if (state.get(node) === undefined) {
      state.set(node, "open");
      for (const v of inputsOf(node).toReversed()) if (v && !state.has(v.node)) stack.push(v.node);
      continue;
    }
    stack.pop();
    if (state.get(node) === "open") {
      state.set(node, "done");
      order.push(node);
    }
  }
  return order;
}

/** Reverse-mode derivative of a scalar `loss` with respect to each of `wrt`; zeros are null.
 *  Only nodes between `wrt` and the loss are visited: frozen weights and layers below the first trainable value
 *  get no gradient and cost nothing.
 *  @throws UnsupportedError if a node on the way is declared not differentiable. */
export function gradients(loss: Value, wrt: readonly Value[]): (Value | null)[] {
  return reverse(loss, ones(loss), wrt, (node) => node.inputs);
}

/** dyᵀ·∂y/∂x for each x of `wrt`, all of them taken as independent: what one makes of another does not count; zeros are null.
 *  @throws UnsupportedError as `gradients` */
export function pullback(y: Value, dy: Value, wrt: readonly Value[]): (Value | null)[] {
  const leaves = new Set(wrt.map((v) => v.node));
  return reverse(y, dy, wrt, (node) => (leaves.has(node) ? [] : node.inputs));
}

function reverse(
  y: Value,
  dy: Value,
  wrt: readonly Value[],
  inputsOf: (node: Node) => readonly (Value | null)[],
): (Value | null)[] {
  const order = topologicalOrder([y], inputsOf);
  const wanted = new Set(wrt.map((v) => v.node));
  const depends = new Set<Node>();
  for (const node of order)
    if (wanted.has(node) || inputsOf(node).some((v) => v && depends.has(v.node))) depends.add(node);

  const gradientOf = new Map<Value, Value>([[y, dy]]);
  for (const node of order.toReversed()) {
    if (!inputsOf(node).some((v) => v && depends.has(v.node))) continue;
    const dys = node.outputs.map((v) => gradientOf.get(v) ?? null);
    if (dys.every((d) => d === null)) continue;
    if (!node.gradient) throw new UnsupportedError(`${node.opType} has no gradient`);
    buildBackward(node, () => {
      const dxs = (node.gradient as Gradient)(dys);
      node.inputs.forEach((v, i) => {
        const dx = dxs[i];
        if (!v || !dx || !depends.has(v.node)) return;
        const sum = gradientOf.get(v);
        gradientOf.set(v, sum ? add(sum, dx) : dx);
      });
    });
  }
  return wrt.map((v) => gradientOf.get(v) ?? null);
}
