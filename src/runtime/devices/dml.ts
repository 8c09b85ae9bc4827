import type { DeviceSpec } from "./spec.ts";
import { NOT_TESTED, UNTESTED } from "./untested.ts";

/** GPUs of Windows, by DirectML. */
export const dml: DeviceSpec = {
  name: "dml",
  platforms: ["win32"],
  providers: ["dml"],
  fallsBack: true,
  lowering: null,
  needs: {},
  mayBeChosen: false,
  hasBuffers: false,
  isAlwaysThere: false,
  features: UNTESTED,
  notice: NOT_TESTED,
};
