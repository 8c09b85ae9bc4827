import type { DeviceSpec } from "./spec.ts";
import { wasm } from "./wasm.ts";
import { webgpu } from "./webgpu.ts";

/** Where graphs run in a browser. */
export type BrowserDevice = "wasm" | "webgpu";

/** Every device of a browser by its name; the first is the default. WebGPU is the same there as in Node. */
export const BROWSER_DEVICES: Readonly<Record<BrowserDevice, DeviceSpec>> = { wasm, webgpu };
