import { ShapeError } from "../errors.ts";
import type { DType } from "../tensor/dtype.ts";
import { floats, type Tensor } from "../tensor/tensor.ts";

/** One dimension: a number, or a name where it is only known when the graph runs. */
export type Dim = number | string;

/** ONNX attribute values; strings, numbers (integers become ints, see `float`), and lists of integers. */
export type Attributes = Readonly<Record<string, number | string | readonly number[] | FloatAttribute>>;

/** A number attribute that ONNX types as float. */
export interface FloatAttribute {
  readonly float: number;
}

/** Gradient of a node: from the gradients of its outputs (null where nothing flows) to those of its inputs (null where
 *  an input has none). It builds values freely: what nobody uses is not reachable and so never serialized. */
export type Gradient = (dys: readonly (Value | null)[]) => readonly (Value | null)[];

/** Where a graph value comes from outside. */
export type Source =
  | { readonly kind: "input"; readonly name: string }
  | { readonly kind: "constant"; readonly tensor: Tensor }
  | { readonly kind: "weight"; readonly name: string; readonly file: WeightLocation };

/** Bytes of a frozen weight in an external file beside the graph. */
export interface WeightLocation {
  /** File name, relative to the folder the graph is loaded from. */
  readonly fileName: string;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

/** Where in the model a node is made: for the names that profiles show, nothing else. */
export interface Place {
  /** Path of the module, `layers.0.attention.q`; empty outside of all. */
  readonly path: string;
  readonly isBackward: boolean;
}

const NOWHERE: Place = { path: "", isBackward: false };
// Building a graph is synchronous, so one current place is enough, and no builder is passed around for a label.
let place: Place = NOWHERE;

/** Nodes made from now on belong to the module of that path, until the next call or the end of the graph (`placing`). */
export function enterModule(path: string): void {
  place = { ...place, path };
}

/** Nodes that `build` makes are of the backward pass of `of`; the place is as before afterwards. */
export function buildBackward<T>(of: Node, build: () => T): T {
  return atPlace({ path: of.place.path, isBackward: true }, build);
}

/** Nodes that `build` makes are at that place. */
export function atPlace<T>(at: Place, build: () => T): T {
  const before = place;
  place = at;
  try {
    return build();
  } finally {
    place = before;
  }
}

/** Modules entered while `build` makes a graph end with it. */
export function placing<T>(build: () => T): T {
  return atPlace(NOWHERE, build);
}

/** What made a value: an ONNX operator, a source, or a composition that stands for the value it aliases. */
export interface Node {
  readonly opType: string;
  readonly inputs: readonly (Value | null)[];
  readonly attributes: Attributes;
  readonly outputs: readonly Value[];
  /** null: not differentiable, by declaration. */
  readonly gradient: Gradient | null;
  readonly source: Source | null;
  readonly alias: Value | null;
  readonly place: Place;
  /** How this matrix is used without forming it, where it has such ways; null where products take it as it is. */
  readonly uses: MatrixUses | null;
}

/** Products with a matrix [n, k] and look-ups in it that do not form it. */
export interface MatrixUses {
  /** alpha · x · Wᵀ: [..., k] → [..., n]. */
  linear(x: Value, alpha: number): Value;
  /** Rows by their indices: [...] → [..., k]; where it is missing they are taken from the formed matrix. */
  gather?(indices: Value): Value;
  /** This matrix with others below it, [Σn, k], without forming them; null where they are not stored alike. */
  stack(below: readonly Value[]): Value | null;
}

/** A tensor in a graph. The graph is what is reachable from the outputs. */
export interface Value {
  readonly dtype: DType;
  readonly shape: readonly Dim[];
  readonly node: Node;
  /** Which output of the node. */
  readonly index: number;
}

/** dtype and shape of an output to be made. */
export interface OutputType {
  readonly dtype: DType;
  readonly shape: readonly Dim[];
}

interface NodeParts {
  opType: string;
  inputs: readonly (Value | null)[];
  attributes?: Attributes;
  gradient: Gradient | null;
  source?: Source;
  alias?: Value;
  uses?: MatrixUses;
  place?: Place;
}

function makeNode(parts: NodeParts, types: readonly OutputType[]): Node {
  const outputs: Value[] = [];
  const node: Node = { attributes: {}, source: null, alias: null, uses: null, place, ...parts, outputs };
  types.forEach((type, index) => {
    outputs.push({ dtype: type.dtype, shape: type.shape, node, index });
  });
  return node;
}

/** The one way to make a node with several outputs. `opType` is an ONNX operator, `domain::Operator` outside ONNX's own. */
export function applyMany(
  opType: string,
  inputs: readonly (Value | null)[],
  types: readonly OutputType[],
  attributes: Attributes,
  gradient: Gradient | null,
): readonly Value[] {
  return makeNode({ opType, inputs, attributes, gradient }, types).outputs;
}

/** The same node over other inputs of the same types. Not differentiable. */
export function withInputs(
  { opType, attributes, outputs, place }: Node,
  inputs: readonly (Value | null)[],
): Node {
  return makeNode({ opType, inputs, attributes, gradient: null, place }, outputs);
}

/** Follows compositions to the value that the serialized graph holds. */
export function resolve(value: Value): Value {
  let v = value;
  while (v.node.alias) v = v.node.alias;
  return v;
}

/** Makes a node with one output, whose dtype is the first input's unless given.
 *  `gradient(dy, y)` returns one gradient per input (null where an input has none); null: not differentiable. */
export function apply(
  opType: string,
  inputs: readonly (Value | null)[],
  shape: readonly Dim[],
  attributes: Attributes,
  gradient: ((dy: Value, y: Value) => readonly (Value | null)[]) | null,
  dtype: DType = (inputs[0] as Value).dtype,
): Value {
  const node: Node = makeNode(
    {
      opType,
      inputs,
      attributes,
      gradient: gradient && (([dy]) => gradient(dy as Value, node.outputs[0] as Value)),
    },
    [{ dtype, shape }],
  );
  return node.outputs[0] as Value;
}

/** Gives `body`, a value computed from `inputs` by other nodes, a gradient of its own (cheaper or more exact than the
 *  walk through those nodes). The serialized graph holds `body` itself. */
export function compose(
  inputs: readonly Value[],
  body: Value,
  gradient: (dy: Value) => readonly (Value | null)[],
): Value {
  const node = makeNode(
    { opType: "compose", inputs, alias: body, gradient: ([dy]) => gradient(dy as Value) },
    [{ dtype: body.dtype, shape: body.shape }],
  );
  return node.outputs[0] as Value;
}

/** A frozen matrix that `body` forms from what is stored, and what spares forming it. */
export function storedMatrix(body: Value, uses: MatrixUses): Value {
  const node = makeNode({ opType: "storedMatrix", inputs: [], alias: body, gradient: null, uses }, [
    { dtype: body.dtype, shape: body.shape },
  ]);
  return node.outputs[0] as Value;
}

function fromOutside(source: Source, dtype: DType, shape: readonly Dim[]): Value {
  return makeNode({ opType: source.kind, inputs: [], gradient: null, source }, [{ dtype, shape }])
    .outputs[0] as Value;
}

/** A graph input, fed at every run. */
export function input(name: string, dtype: DType, shape: readonly Dim[]): Value {
  return fromOutside({ kind: "input", name }, dtype, shape);
}

/** A value known when the graph is built, stored inside it. */
export function constant(tensor: Tensor): Value {
  return fromOutside({ kind: "constant", tensor }, tensor.dtype, tensor.shape);
}

/** float32 scalar constant, shape []. */
export function scalarConstant(value: number): Value {
  return constant(floats(Float32Array.of(value), []));
}

/** A frozen weight in an external file: memory-mapped, never copied into the graph. */
export function weight(
  name: string,
  shape: readonly number[],
  file: WeightLocation,
  dtype: DType = "float32",
): Value {
  return fromOutside({ kind: "weight", name, file }, dtype, shape);
}

/** `[R, T, 64]` for messages. */
export function showShape(shape: readonly Dim[]): string {
  return `[${shape.join(", ")}]`;
}

/** Shape of an elementwise operation under ONNX (NumPy) broadcasting. @throws ShapeError naming the op. */
export function broadcastShapes(op: string, a: readonly Dim[], b: readonly Dim[]): Dim[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1)
      throw new ShapeError(`${op}: shapes ${showShape(a)} and ${showShape(b)} do not broadcast`);
    return x === 1 ? y : x;
  });
}

/** The number of a dimension that must be known. @throws ShapeError */
export function known(dim: Dim | undefined, where: string): number {
  if (typeof dim !== "number")
    throw new ShapeError(`${where}: expected a known dimension, got ${String(dim)}`);
  return dim;
}
