import { applyMany, type Value } from "../value.ts";
import { add, mul, sub } from "./arithmetic.ts";
import { mean, sumTo } from "./reduce.ts";

/** γ ∘ x / √(mean(x²) + ε) over the last axis. [..., d], γ [d].
 *  With x̂ = x·s and g = dy∘γ: dx = s·(g − x̂·mean(g∘x̂)), dγ = Σ dy∘x̂. */
export function rmsNorm(x: Value, gamma: Value, epsilon: number): Value {
  const types = [
    { dtype: x.dtype, shape: x.shape },
    { dtype: x.dtype, shape: x.shape.with(-1, 1) },
  ];
  const attributes = { axis: -1, epsilon: { float: epsilon }, stash_type: 1 };
  const [y, s] = applyMany("SimplifiedLayerNormalization", [x, gamma], types, attributes, ([dy]) => {
    const normed = mul(x, s);
    const g = mul(dy as Value, gamma);
    const dx = mul(s, sub(g, mul(normed, mean(mul(g, normed), [-1], true))));
    return [dx, sumTo(mul(dy as Value, normed), gamma.shape)];
  }) as [Value, Value];
  return y;
}

/** γ ∘ (x − μ) / √(var + ε) + β over the last axis. [..., d], γ and β [d].
 *  With x̂ the normalized input, s = 1/√(var + ε), g = dy∘γ: dx = s·(g − mean(g) − x̂·mean(g∘x̂)). */
export function layerNorm(x: Value, gamma: Value, beta: Value, epsilon: number): Value {
  const types = [
    { dtype: x.dtype, shape: x.shape },
    { dtype: x.dtype, shape: x.shape.with(-1, 1) },
    { dtype: x.dtype, shape: x.shape.with(-1, 1) },
  ];
  const attributes = { axis: -1, epsilon: { float: epsilon }, stash_type: 1 };
  const [y, mu, s] = applyMany("LayerNormalization", [x, gamma, beta], types, attributes, ([dy]) => {
    const normed = mul(sub(x, mu), s);
    const g = mul(dy as Value, gamma);
    const dx = mul(s, sub(g, add(mean(g, [-1], true), mul(normed, mean(mul(g, normed), [-1], true)))));
    return [dx, sumTo(mul(dy as Value, normed), gamma.shape), sumTo(dy as Value, beta.shape)];
  }) as [Value, Value, Value];
  return y;
}
