import { add, mul, scale, sub } from "../ops/arithmetic.ts";
import { cast } from "../ops/cast.ts";
import { int64s } from "../ops/reduce.ts";
import { transpose } from "../ops/shape.ts";
import { apply, type Dim, type FloatAttribute, known, scalarConstant, type Value, weight } from "../value.ts";
import type { Lowering, Rule } from "./lower.ts";

/** A shader has at least 8 storage buffers; what is cut into more pieces is cut one by one. */
const MOST_PIECES = 7;
function overLast(op: string, x: Value): Value {
  const kept = x.shape.with(-1, 1);
  return apply(op, [x, int64s([x.shape.length - 1])], kept, { keepdims: 1 }, null);
}

function one(op: string, x: Value): Value {
  return apply(op, [x], x.shape, {}, null);
}

/** The last two axes changed about, if so. */
function swapped(x: Value, isSwapped: number): Value {
  if (!isSwapped) return x;
  const axes = x.shape.map((_, i) => i);
  const last = axes.length - 1;
  return transpose(x, [...axes.slice(0, -2), last, last - 1]);
}

/** There is none. Where b is a matrix it is a Gemm, so that a transposed weight is not copied. */
const fusedMatmul: Rule = (node, inputs, { sizes }) => {
  const [a, b] = inputs as [Value, Value];
  const { transA, transB, alpha } = node.attributes as {
    transA: number;
    transB: number;
    alpha: FloatAttribute;
  };
  const { shape } = node.outputs[0] as Value;
  const gemm = (x: Value, y: readonly Dim[]): Value =>
    apply("Gemm", [x, b], y, { transA, transB, alpha }, null);
  if (a.shape.length === 2 && b.shape.length === 2) return [gemm(a, shape)];
  if (b.shape.length !== 2 || transA)
    return [scale(apply("MatMul", [swapped(a, transA), swapped(b, transB)], shape, {}, null), alpha.float)];
  const width = a.shape.at(-1) as Dim;
  const flat = apply("Reshape", [a, int64s([-1, known(width, "matmul")])], ["*", width], {}, null);
  return [apply("Reshape", [gemm(flat, ["*", shape.at(-1) as Dim]), sizes(shape)], shape, {}, null)];
};

/** There is none. */
const logSoftmax: Rule = (_node, inputs) => {
  const [x] = inputs as [Value];
  const shifted = sub(x, overLast("ReduceMax", x));
  return [sub(shifted, one("Log", overLast("ReduceSum", one("Exp", shifted))))];
};

/** Its second output is the mean, where it should be the inverse deviation 1/√(mean(x²) + ε). */
const rmsNorm: Rule = (node, inputs) => {
  if (node.outputs.length < 2) return null;
  const [x] = inputs as [Value];
  const y = apply(node.opType, inputs, x.shape, node.attributes, null);
  const epsilon = scalarConstant((node.attributes.epsilon as FloatAttribute).float);
  const variance = add(overLast("ReduceMean", mul(x, x)), epsilon);
  return [y, one("Reciprocal", one("Sqrt", variance))];
};

/** More pieces than a shader has buffers fail. */
const split: Rule = (node, inputs) => {
  if (node.outputs.length <= MOST_PIECES) return null;
  const [x] = inputs as [Value];
  const axis = node.attributes.axis as number;
  let from = 0;
  return node.outputs.map(({ shape }) => {
    const to = from + known(shape[axis], "split");
    const bounds = [from, to, axis].map((n) => int64s([n]));
    from = to;
    return apply("Slice", [x, ...bounds], shape, {}, null);
  });
};

/** Rows of weights by the whole and their name: a graph has one initializer of a name. */
const ROWS = new WeakMap<Value, Map<string, Value>>();

/** Bytes are not sliced; rows of a weight lie together in its file. */
const sliceOfWeight: Rule = (node, inputs, { fixed }) => {
  const [x] = inputs as [Value];
  const { source } = x.node;
  if (x.dtype !== "uint8" || source?.kind !== "weight") return null;
  const [from] = fixed(node.inputs[1] as Value) ?? [];
  const axes = fixed(node.inputs[3] as Value);
  if (from === undefined || axes?.length !== 1 || axes[0] !== 0) return null;
  const shape = (node.outputs[0] as Value).shape.map((d) => known(d, "rows of a weight"));
  const rowBytes = source.file.sizeBytes / known(x.shape[0], source.name);
  const file = {
    ...source.file,
    offsetBytes: source.file.offsetBytes + from * rowBytes,
    sizeBytes: (shape[0] as number) * rowBytes,
  };
  const name = `${source.name} from ${from}, ${shape[0]}`;
  const made = ROWS.get(x) ?? new Map<string, Value>();
  ROWS.set(x, made);
  const rows = made.get(name) ?? weight(name, shape, file, "uint8");
  made.set(name, rows);
  return [rows];
};

const asFloat = (x: Value): Value => cast(x, "float32");

/** It is wrong where its program was compiled for operands that broadcast otherwise: as a product. */
const and: Rule = (node, inputs) => {
  const [a, b] = inputs as [Value, Value];
  const { shape } = node.outputs[0] as Value;
  const both = apply("Mul", [asFloat(a), asFloat(b)], shape, {}, null);
  return [cast(both, "bool")];
};

/** There is none: (0 < x) − (x < 0). */
const sign: Rule = (_node, inputs) => {
  const [x] = inputs as [Value];
  const zero = scalarConstant(0);
  const isLess = (a: Value, b: Value): Value => asFloat(apply("Less", [a, b], x.shape, {}, null, "bool"));
  return [sub(isLess(zero, x), isLess(x, zero))];
};

/** ONNX Runtime 1.30 on WebGPU. */
export const webgpuLowering: Lowering = {
  rules: {
    "com.microsoft::FusedMatMul": fusedMatmul,
    LogSoftmax: logSoftmax,
    SimplifiedLayerNormalization: rmsNorm,
    Split: split,
    Slice: sliceOfWeight,
    Sign: sign,
    And: and,
  },
  lacks: new Set(["BitwiseXor", "BitwiseAnd", "BitShift"]),
};
