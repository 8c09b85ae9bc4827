import { webgpuLowering } from "../../graph/lower/webgpu.ts";
import type { DeviceSpec } from "./spec.ts";
import { UNTESTED } from "./untested.ts";

/** GPUs by WebGPU (Vulkan, Direct3D 12, Metal). The second output of its SimplifiedLayerNormalization is the mean, not the inverse
 *  deviation, so that gradients are wrong without any error (ONNX Runtime 1.30: norm 0.757 where the CPU has 4.798). */
export const webgpu: DeviceSpec = {
  name: "webgpu",
  platforms: ["linux", "win32", "darwin"],
  providers: ["webgpu"],
  fallsBack: false,
  lowering: webgpuLowering,
  isAlwaysThere: false,
  features: { ...UNTESTED, dtypes: ["float32", "int32", "uint32"], packedOperators: [], profile: false },
  isTested: false,
};
