import { apply, scalarConstant, type Value } from "../value.ts";
import { add, mul, scale, sub } from "./arithmetic.ts";
import { sum } from "./reduce.ts";

/** Logistic function. */
export function sigmoid(x: Value): Value {
  return apply("Sigmoid", [x], x.shape, {}, (dy, y) => [mul(dy, mul(y, sub(scalarConstant(1), y)))]);
}

/** Hyperbolic tangent. */
export function tanh(x: Value): Value {
  return apply("Tanh", [x], x.shape, {}, (dy, y) => [mul(dy, sub(scalarConstant(1), mul(y, y)))]);
}

/** max(x, 0). */
export function relu(x: Value): Value {
  return apply("Relu", [x], x.shape, {}, (dy, y) => [mul(dy, sign(y))]);
}

/** −1, 0 or 1; not differentiable. */
export function sign(x: Value): Value {
  return apply("Sign", [x], x.shape, {}, null);
}

/** x · σ(x). Gradient: σ + y·(1 − σ), with y the output. */
export function silu(x: Value): Value {
  return apply("com.microsoft::QuickGelu", [x], x.shape, { alpha: { float: 1 } }, (dy, y) => {
    const s = sigmoid(x);
    return [mul(dy, add(s, mul(y, sub(scalarConstant(1), s))))];
  });
}

/** x · Φ(x), exact. Gradient: Φ(x) + x·φ(x), the normal distribution and density. */
export function gelu(x: Value): Value {
  return apply("com.microsoft::Gelu", [x], x.shape, {}, (dy) => {
    const cdf = scale(add(erf(scale(x, Math.SQRT1_2)), scalarConstant(1)), 0.5);
    const pdf = scale(expOf(scale(mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
    return [mul(dy, add(cdf, mul(x, pdf)))];
  });
}

function erf(x: Value): Value {
  return apply("Erf", [x], x.shape, {}, null);
}

function expOf(x: Value): Value {
  return apply("Exp", [x], x.shape, {}, null);
}

/** GPT-2's gelu: ½x·(1 + tanh(√(2/π)·(x + 0.044715·x³))). */
export function geluTanh(x: Value): Value {
  const inner = scale(add(x, scale(mul(x, mul(x, x)), 0.044715)), Math.sqrt(2 / Math.PI));
  return scale(mul(x, add(tanh(inner), scalarConstant(1))), 0.5);
}

/** Softmax over the last axis. Gradient: y∘(dy − Σ dy∘y). */
export function softmax(x: Value): Value {
  return apply("Softmax", [x], x.shape, { axis: -1 }, (dy, y) => [
    mul(y, sub(dy, sum(mul(dy, y), [-1], true))),
  ]);
}
