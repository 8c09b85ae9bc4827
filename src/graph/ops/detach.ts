import { compose, type Value } from "../value.ts";

/** x, through which no gradient flows. */
export function detach(x: Value): Value {
  return compose([], x, () => []);
}
