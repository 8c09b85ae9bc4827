import { dtypeBytes } from "../tensor/dtype.ts";
import { dimSizeBy } from "./dim-size.ts";
import { topologicalOrder } from "./gradients.ts";
import type { Dim, Node, Value } from "./value.ts";

/** What a graph costs at given sizes, as it is built (the runtime may fuse some of it). Follows from shapes alone. */
export interface GraphWork {
  /** Nodes by operator. */
  readonly nodes: Readonly<Record<string, number>>;
  /** Multiplications and additions: 2·m·n·k for a product, one per element of the output otherwise. */
  readonly flops: number;
  /** Those of matrix products. */
  readonly gemmFlops: number;
  /** Bytes that nodes read and write, weights included; nodes that only rename a shape move nothing. */
  readonly movedBytes: number;
  /** Bytes of all outputs of nodes: what would be held if nothing were freed. */
  readonly outputBytes: number;
}

/** Sizes of named dimensions. */
export type DimSizes = Readonly<Record<string, number>>;

/** A dimension as a number. @throws RangeError for a name without size */
export function dimSize(dim: Dim, sizes: DimSizes): number {
  return dimSizeBy(dim, (name) => sizes[name]);
}

const SHAPE_ONLY: ReadonlySet<string> = new Set(["Reshape", "Unsqueeze", "Squeeze", "Identity", "Shape"]);
const MOVES_ONLY: ReadonlySet<string> = new Set([
  "Transpose",
  "Concat",
  "Split",
  "Slice",
  "Gather",
  "Expand",
  "Pad",
  "Cast",
  "Where",
]);

/** They read as much of their first input as they write. */
const READS_PART: ReadonlySet<string> = new Set(["Gather", "GatherElements", "Slice", "Split"]);

/** Length of the inner dimension of a matrix product, from its first input; null for other operators. */
function innerSize(n: Node, size: (d: Dim) => number): number | null {
  const [a] = n.inputs;
  if (!a || !/(^|::)(Fused)?(MatMul(NBits)?|Gemm)$/.test(n.opType)) return null;
  return size(a.shape.at(n.attributes.transA === 1 ? -2 : -1) as Dim);
}

/** Counts the work of everything that `outputs` depend on. */
export function graphWork(outputs: readonly Value[], sizes: DimSizes): GraphWork {
  const size = (d: Dim): number => dimSize(d, sizes);
  const elements = (v: Value): number => v.shape.reduce<number>((n, d) => n * size(d), 1);
  const bytes = (v: Value): number => elements(v) * dtypeBytes(v.dtype);
  const sum = (values: readonly (Value | null)[], of: (v: Value) => number): number =>
    values.reduce((n, v) => n + (v ? of(v) : 0), 0);
  const order = topologicalOrder(outputs, (n) => (n.alias ? [n.alias] : n.inputs));
  const nodes: Record<string, number> = {};
  const total = { flops: 0, gemmFlops: 0, movedBytes: 0, outputBytes: 0 };
  for (const n of order) {
    if (n.alias || n.source) continue;
    nodes[n.opType] = (nodes[n.opType] ?? 0) + 1;
    if (SHAPE_ONLY.has(n.opType)) continue;
    const inner = innerSize(n, size);
    const made = sum(n.outputs, elements);
    const flops = inner !== null ? 2 * inner * made : MOVES_ONLY.has(n.opType) ? 0 : made;
    total.flops += flops;
    total.gemmFlops += inner === null ? 0 : flops;
    const written = sum(n.outputs, bytes);
    total.movedBytes += written + (READS_PART.has(n.opType) ? written : sum(n.inputs, bytes));
    total.outputBytes += written;
  }
  return { nodes: Object.fromEntries(Object.entries(nodes).sort()), ...total };
}
