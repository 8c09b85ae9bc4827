import { apply, type Dim, type Value } from "../value.ts";
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
  const rows = apply("Unsqueeze", [toInt64(indices), lastAxis(indices)], [...indices.shape, 1], {}, null);
  return apply("ScatterND", [base, rows, updates], base.shape, { reduction: "add" }, null);
}

function lastAxis(x: Value): Value {
  return int64s([x.shape.length]);
}

function toInt64(x: Value): Value {
  return x.dtype === "int64" ? x : apply("Cast", [x], x.shape, { to: 7 }, null, "int64");
}
