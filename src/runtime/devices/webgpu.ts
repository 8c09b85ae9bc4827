import { webgpuLowering } from "../../graph/lower/webgpu.ts";
import type { DeviceSpec } from "./spec.ts";
import { UNTESTED } from "./untested.ts";

/** GPUs by WebGPU (Vulkan, Direct3D 12, Metal). */
export const webgpu: DeviceSpec = {
  name: "webgpu",
  platforms: ["linux", "win32", "darwin"],
  providers: ["webgpu"],
  fallsBack: false,
  lowering: webgpuLowering,
  needs: {},
  mayBeChosen: true,
  hasBuffers: true,
  isAlwaysThere: false,
  // Bytes, bool and int64 go in as weights and as sizes alone.
  features: { ...UNTESTED, dtypes: ["float32", "int32", "uint32"], packedOperators: [], profile: false },
  notice: "was tested on Mesa's software driver alone, not on a GPU",
};
