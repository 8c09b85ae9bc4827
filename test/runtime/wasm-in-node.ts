import * as ort from "onnxruntime-web"; // in Node: its build for Node, of the same WebAssembly
import type { Backend } from "../../src/runtime/backend.ts";
import type { PlaceGraph } from "../../src/runtime/create-runtime.ts";
import { wasm } from "../../src/runtime/devices/wasm.ts";
import { createOrtBackend } from "../../src/runtime/ort-backend.ts";

/** What computes in a page, without one. */
export function openWasm(): Backend {
  ort.env.logLevel = "fatal";
  ort.env.wasm.numThreads = 1;
  const { InferenceSession, Tensor } = ort;
  return createOrtBackend({ InferenceSession, Tensor, providers: wasm.providers }, wasm, 1);
}

/** Hands graphs without weights over as bytes. */
export const asBytes: PlaceGraph = (bytes, _folder, load) => load({ bytes, files: {} });
