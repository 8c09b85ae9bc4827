import { storedMatrix, type Value } from "../value.ts";
import { cast } from "./cast.ts";
import { gather } from "./gather.ts";
import { linear } from "./matrix.ts";

/** A frozen matrix of halves [n, k]: products take their inputs as halves, sums and rows come out as floats. No gradient. */
export function halfMatrix(matrix: Value): Value {
  return storedMatrix(cast(matrix, "float32"), {
    linear: (x, alpha) => cast(linear(cast(x, "float16"), matrix, alpha), "float32"),
    gather: (indices) => cast(gather(matrix, indices), "float32"),
    stack: () => null,
  });
}
