import type * as ort from "onnxruntime-node";
import type { Tensor } from "../tensor/tensor.ts";
import type { RunOptions, Tensors } from "./backend.ts";

/** A session of ONNX Runtime, and whether outputs were given a place when it was loaded: all of them must be asked for then. */
export interface LoadedSession {
  readonly session: ort.InferenceSession;
  readonly isBound: boolean;
}

/** What a backend of ONNX Runtime keeps between runs, and its runs: each as `Backend` and `BackendSession` say. */
export interface KeptState {
  run(loaded: LoadedSession, feeds: Tensors, options: RunOptions): Promise<Record<string, Tensor>>;
  put(tensors: Tensors): Promise<void> | void;
  resize(name: string, shape: readonly number[]): Promise<void> | void;
  copyRow(name: string, from: number, to: number): Promise<void> | void;
  drop(name: string): void;
  /** A copy; undefined where there is none. */
  get(name: string): Promise<Tensor | undefined> | Tensor | undefined;
  close(): Promise<void> | void;
}
