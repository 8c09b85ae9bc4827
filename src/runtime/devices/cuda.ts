import type { DeviceSpec } from "./spec.ts";
import { NOT_TESTED, UNTESTED } from "./untested.ts";

const SHARED = "libonnxruntime_providers_shared.so";
const PROVIDER = "libonnxruntime_providers_cuda.so";
const WHEEL = { name: "onnxruntime-gpu", version: "1.30.0", wheelBytes: 246658419 };

/** NVIDIA's GPUs. The CPU's graphs are run as they are: every tensor that is kept passes over the host between runs, because ONNX Runtime's binding for Node has no tensors of this device. */
export const cuda: DeviceSpec = {
  name: "cuda",
  platforms: ["linux", "win32"],
  providers: ["cuda"],
  fallsBack: true,
  lowering: null,
  // As the library of PyPI's onnxruntime-gpu 1.30.0 names what it is linked with; it opens cuDNN when it computes.
  needs: {
    "linux-x64": {
      besideEngine: [SHARED, PROVIDER],
      libraries: [
        ...["libcuda.so.1", "libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13"],
        ...["libcurand.so.10", "libcudnn.so.9"],
      ],
      carrier: {
        engine: "1.30.0",
        content: {
          package: WHEEL,
          files: [
            {
              name: SHARED,
              pieces: [{ package: WHEEL, member: `onnxruntime/capi/${SHARED}` }],
              sizeBytes: 14632,
              sha256: "086ec1d5388f64153d9c63470d126693db9a182c8ce236d3a1119068471b8a0d",
            },
            {
              name: PROVIDER,
              pieces: [{ package: WHEEL, member: `onnxruntime/capi/${PROVIDER}` }],
              sizeBytes: 272049904,
              sha256: "9d7587acb137b31bf84e4d32dc444b969bb601d098b01395effcacfe4341e364",
            },
          ],
        },
      },
    },
  },
  mayBeChosen: false,
  hasBuffers: false,
  isAlwaysThere: false,
  features: UNTESTED,
  notice: NOT_TESTED,
};
