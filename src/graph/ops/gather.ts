import { apply, type Dim, type Value } from "../value.ts";
import { cast } from "./cast.ts";
import { int64s } from "./reduce.ts";
import { zeros } from "./shape.ts";

/** Rows of `table` [n, d] by `indices` (any shape): [..., d]. Gradient: rows added back where they came from. */
export function gather(table: Value, indices: Value): Value {
  if (table.node.uses?.gather) return table.node.uses.gather(indices);
  const shape: Dim[] = [...indices.shape, ...table.shape.slice(1)];
  return apply("Gather", [table, indices], shape, { axis: 0 }, (dy) => [
    scatterAdd(zeros(table), indices, dy),
    null,
  ]);
}

/** `base` [n, d] with `updates` [..., d] added to the rows `indices` [...]; not differentiable. */
function scatterAdd(base: Value, indices: Value, updates: Value): Value {
  const rows = toInt64(apply("Unsqueeze", [indices, lastAxis(indices)], [...indices.shape, 1], {}, null));
  return apply("ScatterND", [base, rows, updates], base.shape, { reduction: "add" }, null);
}

function lastAxis(x: Value): Value {
  return int64s([x.shape.length]);
}

const WIDE = new WeakMap<Value, Value>();

/** `x` as int64, made once for all that ask. Not differentiable. */
export function toInt64(x: Value): Value {
  if (x.dtype === "int64") return x;
  const made = WIDE.get(x) ?? cast(x, "int64");
  WIDE.set(x, made);
  return made;
}
