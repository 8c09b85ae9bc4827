import type { DeviceSpec } from "./spec.ts";
import { NOT_TESTED, UNTESTED } from "./untested.ts";

/** NVIDIA's GPUs. The CPU's graphs are run as they are: every tensor that is kept passes over the host between runs, because ONNX Runtime's binding for Node has no tensors of this device. */
export const cuda: DeviceSpec = {
  name: "cuda",
  platforms: ["linux", "win32"],
  providers: ["cuda"],
  fallsBack: true,
  lowering: null,
  isAlwaysThere: false,
  features: UNTESTED,
  notice: NOT_TESTED,
};
