import { add, matmul, min, mul } from "../../graph/ops/index.ts";
import { int64s } from "../../graph/ops/reduce.ts";
import { apply, constant, type Dim, type Value } from "../../graph/value.ts";
import { ints } from "../../tensor/tensor.ts";

/** Virtual tokens among the tokens of a graph. */
export interface VirtualRows {
  /** The ids with virtual tokens made the vocabulary's last: what tables of the vocabulary can be read by. */
  readonly tableIds: Value;
  /** x [R, T, d] with the rows of virtual tokens taken from `trained` [count, d]; the others are unchanged. */
  replace(x: Value, trained: Value): Value;
}

/** Tells the virtual tokens among `ids` int32 [R, T], whose ids are `vocabSize` … `vocabSize + count − 1`, from real ones.
 *  Rows are chosen by a product with 0 and 1 rather than by index: its gradient is a product as well, where adding rows up
 *  by index is serial. */
export function virtualRows(ids: Value, vocabSize: number, count: number): VirtualRows {
  const scalarId = (id: number): Value => constant(ints(Int32Array.of(id), []));
  const column: Dim[] = [...ids.shape, 1];
  const upright = apply("Unsqueeze", [ids, int64s([ids.shape.length])], column, {}, null);
  const isReal = apply("Less", [upright, scalarId(vocabSize)], column, {}, null, "bool");
  const own = constant(
    ints(
      Int32Array.from({ length: count }, (_, i) => vocabSize + i),
      [count],
    ),
  );
  const isOwn = apply("Equal", [upright, own], [...ids.shape, count], {}, null, "bool");
  const [keep, choice] = [toFloat(isReal), toFloat(isOwn)];
  return {
    tableIds: min(ids, scalarId(vocabSize - 1)),
    replace: (x, trained) => add(mul(x, keep), matmul(choice, trained)),
  };
}

function toFloat(x: Value): Value {
  return apply("Cast", [x], x.shape, { to: 1 }, null, "float32");
}
