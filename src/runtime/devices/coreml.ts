import type { DeviceSpec } from "./spec.ts";
import { NOT_TESTED, UNTESTED } from "./untested.ts";

/** Apple's GPU and neural engine, by Core ML. */
export const coreml: DeviceSpec = {
  name: "coreml",
  platforms: ["darwin"],
  providers: ["coreml"],
  fallsBack: true,
  lowering: null,
  needs: {},
  mayBeChosen: false,
  hasBuffers: false,
  isAlwaysThere: false,
  features: UNTESTED,
  notice: NOT_TESTED,
};
