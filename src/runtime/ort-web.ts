import { RuntimeError } from "../errors.ts";
import type { Backend } from "./backend.ts";
import type { BrowserDeviceSpec } from "./devices/browser-table.ts";
import { createOrtBackend } from "./ort-backend.ts";

/** How ONNX Runtime starts in a browser. */
export interface WebEngineOptions {
  readonly threads: number;
  /** Address of the folder of its .wasm and .mjs files; default: beside the module that bundles it. */
  readonly assets?: string | undefined;
}

/** A device by ONNX Runtime's package for browsers, on this thread, which a run blocks (a page starts it in a worker). The number of
 *  threads is that of the first engine that is opened: its memory is the page's.
 *  @throws RuntimeError if the package is not installed */
export async function openOrtWeb(
  device: BrowserDeviceSpec,
  { threads, assets }: WebEngineOptions,
): Promise<Backend> {
  const ort = await device.loadEngine().catch((error: unknown) => {
    throw new RuntimeError(`the package onnxruntime-web cannot be loaded: ${String(error)}`);
  });
  ort.env.logLevel = "fatal"; // failures come back as errors
  ort.env.wasm.numThreads = threads;
  if (assets !== undefined) ort.env.wasm.wasmPaths = assets;
  const { InferenceSession, Tensor } = ort;
  return createOrtBackend({ InferenceSession, Tensor, providers: device.providers }, device, threads);
}
