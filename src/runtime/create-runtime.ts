import { UnsupportedError } from "../errors.ts";
import { withHostInputs } from "../graph/lower/host-feeds.ts";
import { type LoweredGraph, type Lowering, lower } from "../graph/lower/lower.ts";
import { type SerializedGraph, serialize } from "../graph/onnx.ts";
import type { Value } from "../graph/value.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Backend, BackendSession, Features, GraphSource, PutOptions, Tensors } from "./backend.ts";

/** How to load a graph. */
export interface LoadOptions {
  /** Folder that external weights lie in; default: the system's temporary folder. */
  readonly folder?: string;
  /** Path prefix of a profile file, written when the session closes or `endProfile` is called: `<prefix>_<time>.json`, in Chrome's
   *  trace format, one event a line. */
  readonly profile?: string;
  /** Keep private copies of weights in the layout that products read fastest (default). Without: memory-mapped weights are
   *  shared and not copied, where the device's products do not need them so (`Features.packedOperators`). */
  readonly prepack?: boolean;
  /** Keep the memory of one run for the next (default), which saves time. Without, it goes back to the system. */
  readonly arena?: boolean;
  /** Outputs that runs keep (`carry`, `insert`, `inPlace`): they stay where the device computes. */
  readonly keeps?: readonly string[];
}

/** A loaded graph. */
export interface Session extends BackendSession {
  readonly graph: SerializedGraph;
}

/** The execution engine; the only door to it. */
export interface Runtime extends Pick<Backend, "supports" | "put" | "resize" | "copyRow" | "drop" | "close"> {
  readonly device: string;
  readonly threads: number;
  /** Serializes and loads a graph given by its named outputs.
   *  @throws UnsupportedError if the device is not there on this machine, or lacks what the graph needs; RuntimeError */
  load(outputs: Readonly<Record<string, Value>>, options?: LoadOptions): Promise<Session>;
  /** Loads a graph that was written to a file, beside its weights. @throws RuntimeError */
  open(path: string): Promise<BackendSession>;
  /** Copies of kept tensors. @throws RuntimeError if one is not there. */
  get<K extends string>(names: readonly K[]): Promise<Record<K, Tensor>>;
}

/** A device, as its runtime knows it. */
interface DeviceOf extends Pick<Runtime, "device" | "threads"> {
  /** What it has otherwise; default: nothing. */
  readonly lowering?: Lowering | null;
}

/** Puts a serialized graph where a backend finds it, and its weights, for as long as `load` takes. */
export type PlaceGraph = <T>(
  bytes: Uint8Array,
  folder: string | undefined,
  load: (graph: GraphSource) => Promise<T>,
) => Promise<T>;

/** A runtime over a backend, wherever that computes. */
export function createRuntime(
  backend: Backend,
  place: PlaceGraph,
  { device, threads, lowering = null }: DeviceOf,
): Runtime {
  const { supports } = backend;
  return {
    device,
    threads,
    supports,
    load: async (outputs, options = {}) => {
      const { outputs: own, hostInputs } = lowering
        ? lower(outputs, lowering)
        : { outputs, hostInputs: NONE };
      const graph = serialize(own);
      const inputs = graph.inputs.filter(({ name }) => !hostInputs.has(name));
      checkGraph({ ...graph, inputs }, { device, lowering }, supports, options);
      const { folder, profile = null, prepack = true, arena = true, keeps = [] } = options;
      const operators = [...graph.opCounts.keys()];
      const session = await place(graph.bytes, folder, (source) =>
        backend.load({ graph: source, operators, profile, prepack, arena, keeps }),
      );
      const all = (feeds: Tensors): Tensors => withHostInputs(graph.inputs, hostInputs, feeds);
      return { graph, ...session, run: (feeds, how) => session.run(all(feeds), how) };
    },
    open: (path) =>
      backend.load({ graph: { path }, operators: [], profile: null, prepack: true, arena: true }),
    put: (tensors: Tensors, options?: PutOptions) => backend.put(tensors, options),
    resize: (shapes) => backend.resize(shapes),
    copyRow: (names, from, to) => backend.copyRow(names, from, to),
    drop: (names) => backend.drop(names),
    get: <K extends string>(names: readonly K[]) => backend.get(names) as Promise<Record<K, Tensor>>,
    close: () => backend.close(),
  };
}

const NONE: LoweredGraph["hostInputs"] = new Map();

function checkGraph(
  { inputs, isTraining, opCounts }: SerializedGraph,
  { device, lowering }: Pick<DeviceOf, "device" | "lowering">,
  supports: Features,
  { profile }: LoadOptions,
): void {
  const refuse = (reason: string): never => {
    throw new UnsupportedError(`device "${device}" ${reason}. Use --device cpu.`);
  };
  const missing = [...opCounts.keys()].filter((operator) => lowering?.lacks.has(operator));
  if (missing.length > 0) refuse(`has no ${missing.join(", ")}, which this graph needs`);
  const foreign = new Set(
    inputs.map(({ dtype }) => dtype).filter((dtype) => !supports.dtypes.includes(dtype)),
  );
  if (foreign.size > 0) refuse(`takes no ${[...foreign].join(", ")}`);
  if (isTraining && !supports.gradients) refuse("cannot train: the gradients that it computes are wrong");
  if (profile !== undefined && !supports.profile) refuse("writes no profile");
}
