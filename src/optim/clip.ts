import { add, div, min, mul, sqrt, square, sumAll } from "../graph/ops/index.ts";
import { scalarConstant, type Value } from "../graph/value.ts";

/** Global L2 norm of a flat gradient [N] → []. */
export function globalNorm(gradient: Value): Value {
  return sqrt(sumAll(square(gradient)));
}

/** Gradient scaled so that its norm is at most `maxNorm`: by min(1, maxNorm / (norm + 10⁻⁶)), as
 *  torch.nn.utils.clip_grad_norm_ does. */
export function clipByNorm(gradient: Value, norm: Value, maxNorm: number): Value {
  const factor = div(scalarConstant(maxNorm), add(norm, scalarConstant(1e-6)));
  return mul(gradient, min(factor, scalarConstant(1)));
}
