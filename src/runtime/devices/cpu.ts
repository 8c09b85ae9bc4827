import { BLOCK_PRODUCT } from "../../graph/ops/blocks.ts";
import type { DeviceSpec } from "./spec.ts";

/** The processor: every test runs on it. */
export const cpu: DeviceSpec = {
  name: "cpu",
  platforms: ["linux", "win32", "darwin"],
  providers: ["cpu"],
  fallsBack: false,
  lowering: null,
  needs: {},
  mayBeChosen: false,
  hasBuffers: false,
  isAlwaysThere: true,
  features: {
    dtypes: ["float32", "int32", "int64", "bool", "uint8", "uint32"],
    mappedWeights: true,
    packedOperators: [BLOCK_PRODUCT], // without, it forms the whole matrix at every run
    gradients: true,
    inPlace: true,
    deterministic: true,
    profile: true,
    threads: true,
  },
  notice: null,
};
