import { coreml } from "./coreml.ts";
import { cpu } from "./cpu.ts";
import { cuda } from "./cuda.ts";
import { dml } from "./dml.ts";
import type { DeviceSpec } from "./spec.ts";
import { webgpu } from "./webgpu.ts";

/** Where graphs run. */
export type Device = "cpu" | "cuda" | "webgpu" | "dml" | "coreml";

/** Every device by its name; the first is the default. */
export const DEVICE_TABLE: Readonly<Record<Device, DeviceSpec>> = { cpu, cuda, webgpu, dml, coreml };
