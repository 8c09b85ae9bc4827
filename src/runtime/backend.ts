import type { DType } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** What a device's engine can do: what callers ask instead of its name. */
export interface Features {
  /** Types that inputs, outputs and kept tensors may have. */
  readonly dtypes: readonly DType[];
  /** A graph is taken by its path, and the files of its weights are mapped, not copied. Else both come as bytes. */
  readonly mappedWeights: boolean;
  /** Operators that need their weights packed, in the order that they read fastest: a graph with one is loaded so, whatever was asked. */
  readonly packedOperators: readonly string[];
  /** Backward passes compute the gradient. Without, graphs that have one are refused. */
  readonly gradients: boolean;
  /** A run writes over a kept tensor (`inPlace`) without another one beside it; without, it replaces it. */
  readonly inPlace: boolean;
  /** The same run on the same tensors gives the same bits. */
  readonly deterministic: boolean;
  /** Times of a graph's nodes can be written to a file. */
  readonly profile: boolean;
  /** The number of threads can be chosen. */
  readonly threads: boolean;
}

/** A serialized graph: a file, beside which those of its weights lie; or bytes, with those of the files by their names. */
export type GraphSource =
  | { readonly path: string }
  | { readonly bytes: Uint8Array; readonly files: Readonly<Record<string, Uint8Array>> };

/** A graph to load, and how. */
export interface LoadRequest {
  readonly graph: GraphSource;
  /** Kinds of its nodes, as `Node.opType` names them. */
  readonly operators: readonly string[];
  /** Keep private copies of weights in the order that products read fastest. */
  readonly prepack: boolean;
  /** Keep the memory of one run for the next. */
  readonly arena: boolean;
  /** Path prefix of a profile; null for none. */
  readonly profile: string | null;
  /** Outputs that runs keep: they may stay where the device computes. Others can be kept as well, over the host. */
  readonly keeps?: readonly string[];
}

/** A stretch of kept tensors [n, …], of the first axis [from, to). */
export interface KeptPart {
  readonly names: readonly string[];
  readonly from: number;
  readonly to: number;
}

/** What one run takes and gives. */
export interface RunOptions {
  /** Outputs wanted; default: all. */
  readonly fetch?: readonly string[];
  /** Outputs kept under an input's name, for the next run of any session. */
  readonly carry?: Readonly<Record<string, string>>;
  /** Scalar output that must be true for `carry` to happen. */
  readonly carryIf?: string;
  /** Outputs written over the kept tensor that an input is, instead of into memory of their own. Sound only where each element
   *  of the output depends on no other element of that input. */
  readonly inPlace?: Readonly<Record<string, string>>;
  /** Kept tensors of which the run takes a stretch, and of which `carry` and `insert` change only that. */
  readonly part?: KeptPart;
  /** Outputs [R, T, h·d] put into kept tensors [R, …h, C, d] (axes between that make h together), under the input's name: row r from column at[r] on. */
  readonly insert?: Readonly<Record<string, string>>;
  readonly at?: readonly number[];
}

/** Tensors by name. */
export type Tensors = Readonly<Record<string, Tensor>>;

/** How tensors are handed over. */
export interface PutOptions {
  /** Nobody uses their arrays again, nor anything else in the same memory: it need not be copied. */
  readonly isGivenAway?: boolean;
}

/** A loaded graph. */
export interface BackendSession {
  /** Runs the graph. Inputs not fed are taken from what is kept. The results are the caller's: no later run changes them.
   *  @throws RuntimeError */
  run(feeds: Tensors, options?: RunOptions): Promise<Record<string, Tensor>>;
  /** Ends a profile that `load` was asked for and writes its file; the session runs on without. */
  endProfile(): Promise<void>;
  close(): Promise<void>;
}

/** What a device must do. It owns the tensors that it keeps, where it computes: `put` takes them there, `get` and what a run
 *  fetches are the only ways back. Calls take effect in the order in which they are made, also where nobody waits. */
export interface Backend {
  readonly supports: Features;
  /** @throws UnsupportedError if the device is not there on this machine, RuntimeError */
  load(request: LoadRequest): Promise<BackendSession>;
  /** Keeps tensors under input names for later runs. Their arrays are the backend's from then on. */
  put(tensors: Tensors, options?: PutOptions): Promise<void>;
  /** Gives kept float tensors another shape of the same rank: what both have room for stays in its place, the rest is 0.
   *  One that is not there, or has another rank, is made. */
  resize(shapes: Readonly<Record<string, readonly number[]>>): Promise<void>;
  /** Copies row `from` of kept float tensors [n, …] over row `to`. @throws RuntimeError if one is not there, or has no such rows */
  copyRow(names: readonly string[], from: number, to: number): Promise<void>;
  /** Forgets kept tensors; names that are not there do not matter. */
  drop(names: readonly string[]): Promise<void>;
  /** Copies of kept tensors. @throws RuntimeError if one is not there. */
  get(names: readonly string[]): Promise<Record<string, Tensor>>;
  /** Ends everything: sessions, what is kept, the engine. */
  close(): Promise<void>;
}
