import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { DType } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { ELEM_TYPE } from "./elem-type.ts";
import { topologicalOrder } from "./gradients.ts";
import {
  type Attributes,
  type Dim,
  type Node,
  type Place,
  resolve,
  type Source,
  type Value,
  type WeightLocation,
} from "./value.ts";

/** A graph ready to run: its ONNX bytes and what goes in and out. */
export interface SerializedGraph {
  readonly bytes: Uint8Array;
  readonly inputs: readonly {
    readonly name: string;
    readonly dtype: DType;
    readonly shape: readonly Dim[];
  }[];
  readonly outputs: readonly string[];
  /** ONNX nodes, by operator. */
  readonly opCounts: ReadonlyMap<string, number>;
  /** Some of it is a backward pass. */
  readonly isTraining: boolean;
}

// Field numbers: onnx.proto3 (ONNX IR version 10).
const IR_VERSION = 10;
const OPSET = 21;
type Write = (w: BinaryWriter) => void;

function message(w: BinaryWriter, field: number, body: Write): void {
  w.tag(field, WireType.LengthDelimited).fork();
  body(w);
  w.join();
}

function text(w: BinaryWriter, field: number, value: string): void {
  w.tag(field, WireType.LengthDelimited).string(value);
}

function int(w: BinaryWriter, field: number, value: number): void {
  w.tag(field, WireType.Varint).int64(value);
}

function attribute(w: BinaryWriter, name: string, value: Attributes[string]): void {
  text(w, 1, name);
  const typed = (type: number): void => int(w, 20, type);
  if (typeof value === "number") {
    int(w, 3, value);
    typed(2);
  } else if (typeof value === "string") {
    w.tag(4, WireType.LengthDelimited).bytes(new TextEncoder().encode(value));
    typed(3);
  } else if ("float" in value) {
    w.tag(2, WireType.Bit32).float(value.float);
    typed(1);
  } else {
    for (const v of value) int(w, 8, v);
    typed(7);
  }
}

function tensor(w: BinaryWriter, name: string, value: Tensor): void {
  for (const d of value.shape) int(w, 1, d);
  int(w, 2, ELEM_TYPE[value.dtype]);
  text(w, 8, name);
  const { buffer, byteOffset, byteLength } = value.data;
  w.tag(9, WireType.LengthDelimited).bytes(new Uint8Array(buffer, byteOffset, byteLength));
}

function externalTensor(w: BinaryWriter, name: string, value: Value, file: WeightLocation): void {
  for (const d of value.shape as readonly number[]) int(w, 1, d);
  int(w, 2, ELEM_TYPE[value.dtype]);
  text(w, 8, name);
  const entries = { location: file.fileName, offset: `${file.offsetBytes}`, length: `${file.sizeBytes}` };
  for (const [key, value] of Object.entries(entries))
    message(w, 13, (e) => {
      text(e, 1, key);
      text(e, 2, value);
    });
  int(w, 14, 1); // data_location: EXTERNAL
}

function valueInfo(w: BinaryWriter, name: string, value: Value): void {
  text(w, 1, name);
  message(w, 2, (type) =>
    message(type, 1, (tensorType) => {
      int(tensorType, 1, ELEM_TYPE[value.dtype]);
      message(tensorType, 2, (shape) => {
        for (const d of value.shape)
          message(shape, 1, (dim) => (typeof d === "number" ? int(dim, 1, d) : text(dim, 2, d)));
      });
    }),
  );
}

/** What a node's name tells. */
export interface NodeNameParts extends Place {
  /** It reads a frozen weight. */
  readonly readsWeight: boolean;
}

/** What forms a weight that is stored in fewer bits. */
const FORMING: ReadonlySet<string> = new Set(["Slice", "DequantizeLinear", "Reshape"]);

/** A weight, or what is made of weights and constants alone (a weight that is stored in fewer bits). */
function isFrozen(value: Value): boolean {
  const { source, inputs, opType } = resolve(value).node;
  if (source) return source.kind === "weight";
  if (FORMING.has(opType)) return inputs[0] != null && isFrozen(inputs[0]); // what else they take may say when
  const isKnown = (v: Value | null): boolean =>
    v === null || v.node.source?.kind === "constant" || isFrozen(v);
  return inputs.length > 0 && inputs.every(isKnown) && inputs.some((v) => v !== null && isFrozen(v));
}

/** `layers.0.attention.q|forward|weight|v12`: what profiles know a node by. `parseNodeName` reads it back. */
function nodeName(n: Node, output: string): string {
  const { path, isBackward } = n.place;
  const frozen = n.inputs.some((v) => v !== null && isFrozen(v));
  return `${path}|${isBackward ? "backward" : "forward"}|${frozen ? "weight|" : ""}${output}`;
}

/** What a node's name states, also inside the names that the runtime makes of it when it fuses nodes; null for the runtime's
 *  own nodes. */
export function parseNodeName(name: string): NodeNameParts | null {
  const match = /([\w.]*)\|(forward|backward)\|(weight\|)?/.exec(name);
  if (!match) return null;
  return {
    path: match[1] as string,
    isBackward: match[2] === "backward",
    readsWeight: match[3] !== undefined,
  };
}

function node(w: BinaryWriter, n: Node, nameOf: (v: Value) => string): void {
  const [domain, opType] = n.opType.includes("::") ? n.opType.split("::") : ["", n.opType];
  for (const v of n.inputs) text(w, 1, v ? nameOf(v) : "");
  for (const v of n.outputs) text(w, 2, nameOf(v));
  text(w, 3, nodeName(n, nameOf(n.outputs[0] as Value)));
  text(w, 4, opType as string);
  for (const [name, value] of Object.entries(n.attributes)) message(w, 5, (a) => attribute(a, name, value));
  text(w, 7, domain as string);
}

/** Names: inputs and weights keep theirs, what is put out has the output's, everything else is numbered in order. */
function createNames(
  outputs: Readonly<Record<string, Value>>,
  taken: ReadonlySet<string>,
): (value: Value) => string {
  const names = new Map<Value, string>();
  for (const [name, value] of Object.entries(outputs)) {
    const v = resolve(value);
    if (!v.node.source && !names.has(v) && !taken.has(name) && !/^v\d+$/.test(name)) names.set(v, name);
  }
  return (value) => {
    const v = resolve(value);
    const known = names.get(v);
    if (known !== undefined) return known;
    const source = v.node.source;
    const name = source && source.kind !== "constant" ? source.name : `v${names.size}`;
    names.set(v, name);
    return name;
  };
}

/** Where the bytes of a weight lie. */
export type LocateWeight = (weight: Value) => WeightLocation;

const atSource: LocateWeight = ({ node }) => (node.source as Extract<Source, { kind: "weight" }>).file;

/** ONNX model of everything that `outputs` depend on. External weights are resolved against the folder that the bytes are
 *  saved in; `locate`: where they lie, if not where they were found. Sources that no output needs fall away, inputs included. */
export function serialize(
  outputs: Readonly<Record<string, Value>>,
  locate: LocateWeight = atSource,
): SerializedGraph {
  const results = Object.values(outputs);
  const order = topologicalOrder(results, (n) => (n.alias ? [n.alias] : n.inputs)).filter((n) => !n.alias);
  const sources = order.flatMap((n) => (n.source && n.source.kind !== "constant" ? [n.source.name] : []));
  const nameOf = createNames(outputs, new Set(sources));
  const inputs = order.flatMap((n) =>
    n.source?.kind === "input" ? [{ name: n.source.name, value: n.outputs[0] as Value }] : [],
  );
  const operators = order.filter((n) => !n.source);
  const w = new BinaryWriter();
  int(w, 1, IR_VERSION);
  text(w, 2, "lowrank");
  message(w, 7, (g) => {
    for (const n of operators) message(g, 1, (m) => node(m, n, nameOf));
    for (const [name, v] of Object.entries(outputs))
      if (nameOf(v) !== name) message(g, 1, (m) => identity(m, nameOf(v), name));
    text(g, 2, "lowrank");
    for (const n of order) initializer(g, n, nameOf, locate);
    for (const i of inputs) message(g, 11, (m) => valueInfo(m, i.name, i.value));
    for (const [name, v] of Object.entries(outputs)) message(g, 12, (m) => valueInfo(m, name, v));
  });
  for (const [domain, version] of [["", OPSET] as const, ["com.microsoft", 1] as const])
    message(w, 8, (o) => {
      text(o, 1, domain);
      int(o, 2, version);
    });
  return {
    bytes: w.finish(),
    inputs: inputs.map(({ name, value }) => ({ name, dtype: value.dtype, shape: value.shape })),
    outputs: Object.keys(outputs),
    opCounts: countOps(operators),
    isTraining: operators.some((n) => n.place.isBackward),
  };
}

// An output that is an input or a constant, or goes out under two names, is a named copy.
function identity(w: BinaryWriter, from: string, to: string): void {
  text(w, 1, from);
  text(w, 2, to);
  text(w, 3, `output ${to}`);
  text(w, 4, "Identity");
}

function initializer(g: BinaryWriter, n: Node, nameOf: (v: Value) => string, locate: LocateWeight): void {
  const value = n.outputs[0] as Value;
  if (n.source?.kind === "constant") {
    const constantTensor = n.source.tensor;
    message(g, 5, (m) => tensor(m, nameOf(value), constantTensor));
  } else if (n.source?.kind === "weight") {
    message(g, 5, (m) => externalTensor(m, nameOf(value), value, locate(value)));
  }
}

function countOps(nodes: readonly Node[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const n of nodes) counts.set(n.opType, (counts.get(n.opType) ?? 0) + 1);
  return counts;
}
