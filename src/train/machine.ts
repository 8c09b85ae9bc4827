import { totalmem } from "node:os";
import { AUTO_DEVICE, type Device, type DeviceChoice, usesHostMemory } from "../runtime/device.ts";
import type { TrainConfig } from "./config/config.ts";
import type { PlanWork } from "./plan.ts";

/** What a run may take: of the machine's free memory, or of the device's, where it has its own and the user tells how much. `members`: processes
 *  on this machine that do the same. `limitBytes`: what it may not exceed. */
export function memoryLimits(
  { deviceMemory }: Pick<TrainConfig, "deviceMemory">,
  device: DeviceChoice,
  {
    limitBytes = Number.POSITIVE_INFINITY,
    members = 1,
  }: { limitBytes?: number | undefined; members?: number },
): Required<Pick<PlanWork, "limitBytes" | "memory">> {
  const totalBytes = totalmem();
  if (deviceMemory === null || usesHostMemory(device))
    return { limitBytes, memory: { totalBytes, freeBytes: process.availableMemory() / members } };
  const freeBytes = (deviceMemory * 2 ** 30) / members;
  return { limitBytes: Math.min(limitBytes, freeBytes), memory: { totalBytes, freeBytes } };
}

/** What to say of `deviceMemory` where `auto` took a device that has none of its own. */
export function unusedMemoryNote(
  { deviceMemory, device: choice }: Pick<TrainConfig, "deviceMemory" | "device">,
  device: Device,
): string[] {
  const isUnused = choice === AUTO_DEVICE && deviceMemory !== null && usesHostMemory(device);
  return isUnused ? [`--device-memory has no effect: ${device} computes in the machine's memory`] : [];
}
