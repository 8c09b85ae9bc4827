import { cpu } from "./cpu.ts";
import type { DeviceSpec } from "./spec.ts";

/** A browser's processor, by WebAssembly: the CPU's graphs. */
export const wasm: DeviceSpec = {
  name: "wasm",
  platforms: [],
  providers: ["wasm"],
  fallsBack: false,
  lowering: null,
  needs: {},
  mayBeChosen: false,
  hasBuffers: false,
  isAlwaysThere: true,
  features: {
    ...cpu.features,
    mappedWeights: false,
    inPlace: false, // tensors lie in the page's memory, and are copied in and out
    profile: false,
  },
  notice: null,
};
