import { scale } from "../ops/arithmetic.ts";
import { int64s } from "../ops/reduce.ts";
import { concat } from "../ops/shape.ts";
import { apply, type Dim, type FloatAttribute, known, type Value } from "../value.ts";
import type { Lowering, Rule } from "./lower.ts";
import { swapped, webgpuLowering } from "./webgpu.ts";

/** [..., k] · op(b) with a matrix b is a Gemm of the folded rows, so that a transposed weight is not copied. */
function foldedGemm(a: Value, b: Value, shape: readonly Dim[], attributes: Record<string, unknown>): Value {
  const { transB, alpha } = attributes as { transB: number; alpha: FloatAttribute };
  const [k, n] = [a.shape.at(-1), shape.at(-1)].map((d) => known(d, "matmul")) as [number, number];
  const gemm = (x: Value): Value => apply("Gemm", [x, b], ["*", n], { transA: 0, transB, alpha }, null);
  if (a.shape.length === 2) return gemm(a);
  const leading = apply("Shape", [a], [a.shape.length - 1], { start: 0, end: -1 }, null, "int64");
  const flat = apply("Reshape", [a, int64s([-1, k])], ["*", k], {}, null);
  return apply("Reshape", [gemm(flat), concat([leading, int64s([n])], 0)], shape, {}, null);
}

/** ONNX Runtime's fused product, which WebGPU and other runtimes lack. */
const fusedMatmul: Rule = (node, inputs) => {
  const [a, b] = inputs as [Value, Value];
  const { transA, transB, alpha } = node.attributes as {
    transA: number;
    transB: number;
    alpha: FloatAttribute;
  };
  const { shape } = node.outputs[0] as Value;
  if (b.shape.length === 2 && !transA) return [foldedGemm(a, b, shape, node.attributes)];
  const factors = [scale(swapped(a, transA), alpha.float), swapped(b, transB)];
  return [apply("MatMul", factors, shape, {}, null)];
};

/** Operators that ONNX Runtime has on every device and in browsers, without inputs that only our host feeds. */
export const portableLowering: Lowering = {
  rules: { ...webgpuLowering.rules, "com.microsoft::FusedMatMul": fusedMatmul },
  lacks: webgpuLowering.lacks,
  keepsShapes: true,
};
