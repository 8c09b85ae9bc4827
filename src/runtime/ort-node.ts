import * as ort from "onnxruntime-node";
import type { Backend } from "./backend.ts";
import type { DeviceSpec } from "./devices/spec.ts";
import { createOrtBackend } from "./ort-backend.ts";

// Failures come back as errors; the engine's own log would be printed.
ort.env.logLevel = "fatal";

/** A device by ONNX Runtime's package for Node, on this thread, which a run blocks. */
export function openOrtNode(device: DeviceSpec, threads: number): Backend {
  const providers = ort.listSupportedBackends().flatMap((b) => (b.bundled ? [b.name] : []));
  const { InferenceSession, Tensor } = ort;
  return createOrtBackend({ InferenceSession, Tensor, providers }, device, threads);
}
