import { apply, broadcastShapes, scalarConstant, type Value } from "../value.ts";
import { sumTo } from "./reduce.ts";

function elementwise(
  opType: string,
  a: Value,
  b: Value,
  gradient: (dy: Value, y: Value) => readonly [Value, Value],
): Value {
  return apply(opType, [a, b], broadcastShapes(opType, a.shape, b.shape), {}, (dy, y) => {
    const [da, db] = gradient(dy, y);
    return [sumTo(da, a.shape), sumTo(db, b.shape)];
  });
}

/** a + b, broadcasting. @throws ShapeError if the shapes do not broadcast. */
export function add(a: Value, b: Value): Value {
  return elementwise("Add", a, b, (dy) => [dy, dy]);
}

/** a − b, broadcasting. @throws ShapeError if the shapes do not broadcast. */
export function sub(a: Value, b: Value): Value {
  return elementwise("Sub", a, b, (dy) => [dy, neg(dy)]);
}

/** a ∘ b, broadcasting. @throws ShapeError if the shapes do not broadcast. */
export function mul(a: Value, b: Value): Value {
  return elementwise("Mul", a, b, (dy) => [mul(dy, b), mul(dy, a)]);
}

/** a / b, broadcasting. @throws ShapeError if the shapes do not broadcast. */
export function div(a: Value, b: Value): Value {
  return elementwise("Div", a, b, (dy, y) => [div(dy, b), neg(div(mul(dy, y), b))]);
}

/** Smaller of a and b, broadcasting; not differentiable (used on norms and factors). */
export function min(a: Value, b: Value): Value {
  return apply("Min", [a, b], broadcastShapes("Min", a.shape, b.shape), {}, null);
}

/** c · x for a number c. */
export function scale(x: Value, c: number): Value {
  return c === 1 ? x : mul(x, scalarConstant(c));
}

/** −x. */
export function neg(x: Value): Value {
  return apply("Neg", [x], x.shape, {}, (dy) => [neg(dy)]);
}

/** eˣ. */
export function exp(x: Value): Value {
  return apply("Exp", [x], x.shape, {}, (dy, y) => [mul(dy, y)]);
}

/** Natural logarithm. */
export function log(x: Value): Value {
  return apply("Log", [x], x.shape, {}, (dy) => [div(dy, x)]);
}

/** √x. */
export function sqrt(x: Value): Value {
  return apply("Sqrt", [x], x.shape, {}, (dy, y) => [div(scale(dy, 0.5), y)]); // d√x = dy / 2√x
}

/** x². */
export function square(x: Value): Value {
  return mul(x, x);
}
