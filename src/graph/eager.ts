import { pullback } from "./gradients.ts";
import { add, mul } from "./ops/arithmetic.ts";
import { sumAll } from "./ops/reduce.ts";
import { ones } from "./ops/shape.ts";
import { outsideValues } from "./recompute.ts";
import { compose, type Value } from "./value.ts";

/** A term of a sum whose gradient is computed with it. */
export interface EagerTerm {
  /** build(x), []. */
  readonly value: Value;
  /** Its gradient by x. Once that is there, nothing inside is needed any more. */
  readonly gradient: Value | null;
}

function isOne({ node: { source } }: Value): boolean {
  return source?.kind === "constant" && source.tensor.data.length === 1 && source.tensor.data[0] === 1;
}

/** build(x), a scalar, and at once its gradients, so that what is inside need not be kept for the backward pass (logits of
 *  one chunk). `after`: the term before; this one begins when that one and its gradient are there, by a sum with 0 times both
 *  (so the gradient by x is computed even where nothing below is trained). `zero`: a graph input [] that is fed 0. Values and
 *  gradients are the same as without. */
export function eager(x: Value, build: (x: Value) => Value, after: EagerTerm | null, zero: Value): EagerTerm {
  const own = after?.gradient ? add(x, mul(zero, add(after.value, sumAll(after.gradient)))) : x;
  const body = build(own);
  const outside = outsideValues(body, build(own), [own]);
  const found = pullback(body, ones(body), [own, ...outside]);
  const value = compose([x, ...outside], body, (dy) =>
    found.map((g) => (g === null || isOne(dy) ? g : mul(g, dy))),
  );
  return { value, gradient: found[0] ?? null };
}
