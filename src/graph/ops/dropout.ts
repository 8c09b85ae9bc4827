import { ints } from "../../tensor/tensor.ts";
import { apply, constant, known, scalarConstant, type Value } from "../value.ts";
import { add, mul } from "./arithmetic.ts";
import { randomKeys, stirred } from "./hash.ts";

/** Inverted dropout on x [R, T, d], reproducible on every device: no generator state in the graph. `noise` int32 [R, T, 1]
 *  is drawn on the host for each step; `stream` names the place, so that every place drops its own elements. An element is
 *  kept where a 32-bit mix of its token's noise and its feature's constant is below the keep probability. */
export function dropout(x: Value, rate: number, noise: Value, stream: string): Value {
  if (rate === 0) return x;
  const width = known(x.shape.at(-1), "dropout");
  const feature = constant(ints(randomKeys(stream, width), [1, 1, width]));
  const kept = keepMask(add(noise, feature), 1 - rate, x);
  return mul(x, kept);
}

// The comparison reads the high bits.
function keepMask(seed: Value, keep: number, like: Value): Value {
  const limit = constant(ints(Int32Array.of(Math.round(keep * 4294967295 - 2147483648)), []));
  const below = apply("Less", [stirred(seed), limit], like.shape, {}, null, "bool");
  return apply(
    "Where",
    [below, scalarConstant(1 / keep), scalarConstant(0)],
    like.shape,
    {},
    null,
    "float32",
  );
}
