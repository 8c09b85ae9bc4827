import { createInterface } from "node:readline";
import { type NodeNameParts, parseNodeName } from "../../graph/onnx.ts";
import { openRegular } from "../../io/regular-file.ts";

/** Milliseconds of one forward and backward pass that went to something. */
export interface ProfileShare {
  readonly name: string;
  readonly forwardMs: number;
  readonly backwardMs: number;
  /** Nodes that ran. */
  readonly calls: number;
}

/** Where the time of a forward and backward pass went, a mean over passes. Largest shares first, layers in order. */
export interface StepProfile {
  /** Passes measured. */
  readonly passes: number;
  /** The whole pass; the rest of it is the engine's own work between nodes. */
  readonly passMs: number;
  readonly byKind: readonly ProfileShare[];
  readonly byOperator: readonly ProfileShare[];
  /** `layers.*.attention.q`: all layers together. */
  readonly byModule: readonly ProfileShare[];
  /** `layers.0`, and what is in no layer by its module. */
  readonly byLayer: readonly ProfileShare[];
}

/** One node's run in a trace. */
export interface NodeTime extends NodeNameParts {
  readonly operator: string;
  readonly ms: number;
}

interface TraceEvent {
  readonly cat: string;
  readonly name: string;
  /** Microseconds. */
  readonly dur: number;
  readonly args: { readonly op_name?: string };
}

/** Events of a trace, line by line: a trace may be larger than a string. */
async function* traceEvents(path: string): AsyncGenerator<TraceEvent> {
  for await (const line of createInterface({ input: (await openRegular(path)).createReadStream() })) {
    const text = line.trim().replace(/,$/, "");
    if (text.startsWith("{")) yield JSON.parse(text) as TraceEvent;
  }
}

function nodeTime({ name, dur, args }: TraceEvent): NodeTime {
  const place = parseNodeName(name) ?? { path: "", isBackward: false, readsWeight: false };
  return { ...place, operator: args.op_name as string, ms: dur / 1000 };
}

const PRODUCT = /^(Fused)?(MatMul|Gemm)/;
const MOVES = new Set([
  "Transpose",
  "Reshape",
  "Concat",
  "Split",
  "Slice",
  "Gather",
  "Expand",
  "Unsqueeze",
  "Squeeze",
]);

/** What sort of work a node does. */
export function kindOf({ path, operator, readsWeight }: Omit<NodeTime, "ms">): string {
  if (PRODUCT.test(operator)) {
    if (/\.attention$/.test(path)) return "products of attention";
    if (path === "head") return "output layer";
    return readsWeight ? "products with frozen weights" : "products of the adapter";
  }
  if (operator === "DequantizeLinear") return "forming weights";
  if (operator === "Softmax" || operator === "LogSoftmax") return "softmax";
  if (/norm$/.test(path) || /Normalization$/.test(operator)) return "norms";
  if (operator === "RotaryEmbedding") return "rotary positions";
  return MOVES.has(operator) ? "moving data" : "elementwise";
}

const layerOf = (path: string): string =>
  /^layers\.\d+/.exec(path)?.[0] ?? (path === "" ? "elsewhere" : path);
const moduleOf = (path: string): string =>
  path === "" ? "elsewhere" : path.replace(/^layers\.\d+/, "layers.*");

function shares(times: readonly NodeTime[], passes: number, nameOf: (t: NodeTime) => string): ProfileShare[] {
  const sums = new Map<string, { name: string; forwardMs: number; backwardMs: number; calls: number }>();
  for (const time of times) {
    const name = nameOf(time);
    const sum = sums.get(name) ?? { name, forwardMs: 0, backwardMs: 0, calls: 0 };
    sum[time.isBackward ? "backwardMs" : "forwardMs"] += time.ms / passes;
    sum.calls += 1 / passes;
    sums.set(name, sum);
  }
  return [...sums.values()].sort((a, b) => b.forwardMs + b.backwardMs - a.forwardMs - a.backwardMs);
}

function summarize(times: readonly NodeTime[], passMs: readonly number[]): StepProfile {
  const passes = passMs.length;
  const layers = shares(times, passes, (t) => layerOf(t.path));
  const numberOf = (name: string): number =>
    Number(/^layers\.(\d+)$/.exec(name)?.[1] ?? Number.POSITIVE_INFINITY);
  return {
    passes,
    passMs: passMs.reduce((a, b) => a + b, 0) / Math.max(1, passes),
    byKind: shares(times, passes, kindOf),
    byOperator: shares(times, passes, (t) => t.operator),
    byModule: shares(times, passes, (t) => moduleOf(t.path)),
    byLayer: layers.sort((a, b) => numberOf(a.name) - numberOf(b.name) || 0),
  };
}

/** Sums up a trace of the gradient graph without its first `skip` passes, which fill caches and memory pools. */
export async function readProfile(tracePath: string, skip: number): Promise<StepProfile> {
  const times: NodeTime[] = [];
  const passMs: number[] = [];
  let pass: NodeTime[] = [];
  let seen = 0;
  for await (const event of traceEvents(tracePath)) {
    if (event.cat === "Node" && event.name.endsWith("_kernel_time")) pass.push(nodeTime(event));
    if (event.name !== "model_run") continue; // comes after the nodes of its run
    if (seen++ >= skip) {
      for (const time of pass) times.push(time);
      passMs.push(event.dur / 1000);
    }
    pass = [];
  }
  return summarize(times, passMs);
}
