import { ShapeError } from "../../errors.ts";
import {
  apply,
  broadcastShapes,
  type Dim,
  known,
  showShape,
  type Value,
  type WeightLocation,
  weight,
} from "../value.ts";
import { sumTo } from "./reduce.ts";
import { reshape } from "./shape.ts";

/** Which operands of a product are transposed (last two axes), and a factor on the result. */
export interface MatmulOptions {
  readonly transA?: boolean;
  readonly transB?: boolean;
  readonly alpha?: number;
}

function swapLast(shape: readonly Dim[], swap: boolean): readonly Dim[] {
  return swap ? [...shape.slice(0, -2), shape.at(-1) as Dim, shape.at(-2) as Dim] : shape;
}

function matmulShape(a: Value, b: Value, transA: boolean, transB: boolean): Dim[] {
  const sa = swapLast(a.shape, transA);
  const sb = swapLast(b.shape, transB);
  if (sa.length < 2 || sb.length < 2 || sa.at(-1) !== sb.at(-2))
    throw new ShapeError(`matmul: inner dimensions of ${showShape(sa)} and ${showShape(sb)} differ`);
  return [...broadcastShapes("matmul", sa.slice(0, -2), sb.slice(0, -2)), sa.at(-2) as Dim, sb.at(-1) as Dim];
}

/** alpha · op(a) · op(b) over the last two axes, the others broadcasting: [..., m, k] × [..., k, n] → [..., m, n].
 *  @throws ShapeError if the inner dimensions differ. */
export function matmul(a: Value, b: Value, options: MatmulOptions = {}): Value {
  const { transA = false, transB = false, alpha = 1 } = options;
  const shape = matmulShape(a, b, transA, transB);
  const gradient = (dy: Value): readonly Value[] => {
    const da = transA
      ? matmul(b, dy, { transA: transB, transB: true, alpha }) // dA = α · op(B) · dYᵀ
      : matmul(dy, b, { transB: !transB, alpha }); // dA = α · dY · op(B)ᵀ
    const db = transB
      ? matmul(dy, a, { transA: true, transB: transA, alpha }) // dB = α · dYᵀ · op(A)
      : matmul(a, dy, { transA: !transA, alpha }); // dB = α · op(A)ᵀ · dY
    return [sumTo(da, a.shape), sumTo(db, b.shape)];
  };
  if (!transA && !transB && alpha === 1) return apply("MatMul", [a, b], shape, {}, gradient);
  const attributes = { transA: Number(transA), transB: Number(transB), alpha: { float: alpha } };
  return apply("com.microsoft::FusedMatMul", [a, b], shape, attributes, gradient);
}

/** [..., n] → [rows, n]: every axis but the last folded into one. */
export function foldRows(x: Value): Value {
  if (x.shape.length === 2) return x;
  const leading = x.shape.slice(0, -1);
  const rows = leading.every((d) => typeof d === "number")
    ? leading.reduce<number>((n, d) => n * (d as number), 1)
    : leading.filter((d) => d !== 1).join("·");
  return reshape(x, [rows, x.shape.at(-1) as Dim]);
}

/** Frozen matrices [nᵢ, k] below each other, [Σn, k], where that copies no floats: those stored in blocks, which the runtime
 *  puts together when it loads, and floats that lie so in their file. null for others. */
export function stackRows(matrices: readonly Value[]): Value | null {
  const [first, ...below] = matrices as [Value, ...Value[]];
  if (first.node.uses) return first.node.uses.stack(below);
  const sources = matrices.map((m) => m.node.source);
  if (!sources.every((s) => s?.kind === "weight")) return null;
  const files = sources.map((s) => s.file);
  const { fileName, offsetBytes } = files[0] as WeightLocation;
  let end = offsetBytes;
  for (const file of files) {
    if (file.fileName !== fileName || file.offsetBytes !== end) return null;
    end += file.sizeBytes;
  }
  const rows = matrices.reduce((n, m) => n + known(m.shape[0], "stackRows"), 0);
  const location = { fileName, offsetBytes, sizeBytes: end - offsetBytes };
  return weight(sources.map((s) => s.name).join("+"), [rows, known(first.shape[1], "stackRows")], location);
}

/** x · Wᵀ · alpha with W stored [out, in]: [..., in] → [..., out].
 *  @throws ShapeError if the inner dimensions differ. */
export function linear(x: Value, w: Value, alpha = 1): Value {
  if (w.shape.length !== 2 || x.shape.at(-1) !== w.shape[1])
    throw new ShapeError(`linear: input ${showShape(x.shape)} does not fit weight ${showShape(w.shape)}`);
  if (w.node.uses) return w.node.uses.linear(x, alpha);
  const shape = [...x.shape.slice(0, -1), w.shape[0] as Dim];
  const attributes = { transA: 0, transB: 1, alpha: { float: alpha } };
  return apply("com.microsoft::FusedMatMul", [x, w], shape, attributes, (dy) => [
    matmul(dy, w, { alpha }), // dX = α · dY · W
    matmul(foldRows(dy), foldRows(x), { transA: true, alpha }), // dW = α · dYᵀ · X
  ]);
}
