import type { DType } from "../../tensor/dtype.ts";
import { ELEM_TYPE } from "../elem-type.ts";
import { apply, type Value } from "../value.ts";

/** The same numbers as another type. Not differentiable. */
export function cast(x: Value, dtype: DType): Value {
  return apply("Cast", [x], x.shape, { to: ELEM_TYPE[dtype] }, null, dtype);
}
