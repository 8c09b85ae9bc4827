import type { Features } from "../backend.ts";
import { cpu } from "./cpu.ts";

/** What the user of such a device is told. */
export const NOT_TESTED = "is not tested: no test runs on it";

/** What a device is taken to do that no test has run on: the CPU's graphs, by the ways that hold on any device. */
export const UNTESTED: Features = {
  ...cpu.features,
  inPlace: false,
  deterministic: false,
};
