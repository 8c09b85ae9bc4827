import type { Features } from "../backend.ts";
import { cpu } from "./cpu.ts";

/** What a device is taken to do that no test has run on: the CPU's graphs, by the ways that hold on any device. */
export const UNTESTED: Features = {
  ...cpu.features,
  inPlace: false,
  deterministic: false,
};
