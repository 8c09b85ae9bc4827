import { totalmem } from "node:os";
import type { MachineMemory } from "./plan.ts";

/** The memory of this machine, as it is now. */
export function machineMemory(): MachineMemory {
  return { totalBytes: totalmem(), freeBytes: process.availableMemory() };
}
