import { add, div, min, mul, reshape, slice, sqrt, square, sum, sumAll } from "../graph/ops/index.ts";
import { known, scalarConstant, type Value } from "../graph/value.ts";
import { type SettingsOf, setting } from "../options/setting.ts";
import { positive } from "../options/values.ts";
import { OPTIMIZER } from "./schedule.ts";

/** How far a gradient may go. */
export interface ClipOptions {
  /** Largest global norm of the gradient; null does not clip. */
  readonly clipNorm: number | null;
}

export const clipSettings: SettingsOf<ClipOptions> = {
  clipNorm: setting(positive.nullable(), 1, {
    group: OPTIMIZER,
    value: "x",
    description: "largest global norm of the gradient; none does not clip",
    knownAs: ["maxGradNorm", "gradientClipping", "gradClip"],
  }),
};

/** Σ of a flat vector [N], in two stages of about √N terms: one float32 sum over millions of terms of one sign comes out low
 *  (by 1.2·10⁻⁴ at 5 million elements and 7·10⁻³ at 80 million, measured). */
function sumLong(x: Value): Value {
  const size = known(x.shape[0], "norm");
  const width = 2 ** Math.round(Math.log2(Math.sqrt(size)));
  const whole = Math.floor(size / width) * width;
  const rows = reshape(slice(x, 0, 0, whole), [whole / width, width]);
  const total = sumAll(sum(rows, [1]));
  return whole === size ? total : add(total, sumAll(slice(x, 0, whole, size)));
}

/** Σ x² of a flat vector [N] → []. */
export function squaredNorm(x: Value): Value {
  return sumLong(square(x));
}

/** Global L2 norm of a flat gradient [N] → []. */
export function globalNorm(gradient: Value): Value {
  return sqrt(squaredNorm(gradient));
}

/** Gradient scaled so that its norm is at most `maxNorm`: by min(1, maxNorm / (norm + 10⁻⁶)), as
 *  torch.nn.utils.clip_grad_norm_ does. */
export function clipByNorm(gradient: Value, norm: Value, maxNorm: number): Value {
  const factor = div(scalarConstant(maxNorm), add(norm, scalarConstant(1e-6)));
  return mul(gradient, min(factor, scalarConstant(1)));
}
