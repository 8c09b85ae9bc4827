import type { DeviceSpec } from "./spec.ts";
import { NOT_TESTED, UNTESTED } from "./untested.ts";

/** NVIDIA's GPUs. The CPU's graphs are run as they are: every tensor that is kept passes over the host between runs, because ONNX Runtime's binding for Node has no tensors of this device. */
export const cuda: DeviceSpec = {
  name: "cuda",
  platforms: ["linux", "win32"],
  providers: ["cuda"],
  fallsBack: true,
  lowering: null,
  // As the library of PyPI's onnxruntime-gpu 1.30.0 names what it is linked with; it opens cuDNN when it computes.
  needs: {
    linux: {
      besideEngine: ["libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so"],
      libraries: [
        ...["libcuda.so.1", "libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13"],
        ...["libcurand.so.10", "libcudnn.so.9"],
      ],
    },
  },
  mayBeChosen: false,
  hasBuffers: false,
  isAlwaysThere: false,
  features: UNTESTED,
  notice: NOT_TESTED,
};
