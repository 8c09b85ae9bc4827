import type { DeviceSpec } from "./spec.ts";
import { wasm } from "./wasm.ts";
import { webgpu } from "./webgpu.ts";

/** Where graphs run in a browser. */
export type BrowserDevice = "wasm" | "webgpu";

/** A device of a browser. */
export interface BrowserDeviceSpec extends DeviceSpec {
  /** The build of ONNX Runtime that has it, loaded when it is first needed. */
  loadEngine(): Promise<typeof import("onnxruntime-web")>;
}

/** Every device of a browser by its name; the first is the default. WebGPU has the graphs that it has in Node. */
export const BROWSER_DEVICES: Readonly<Record<BrowserDevice, BrowserDeviceSpec>> = {
  wasm: { ...wasm, loadEngine: () => import("onnxruntime-web/wasm") },
  webgpu: { ...webgpu, loadEngine: () => import("onnxruntime-web/webgpu") }, // of twice the size
};

/** Where to compute unless something else is said. */
export const DEFAULT_BROWSER_DEVICE: BrowserDevice = "wasm";
