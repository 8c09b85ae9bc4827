import { z } from "zod";
import { UnsupportedError } from "../errors.ts";
import { type SettingsOf, setting } from "../options/setting.ts";
import { count } from "../options/values.ts";
import type { DeviceSpec } from "./devices/spec.ts";
import { DEVICE_TABLE, type Device } from "./devices/table.ts";

export type { Device } from "./devices/table.ts";

/** Every device name, the default first. */
export const DEVICES: readonly [Device, ...Device[]] = Object.keys(DEVICE_TABLE) as [Device, ...Device[]];

/** Where to compute unless something else is said. */
export const DEFAULT_DEVICE: Device = DEVICES[0];

/** In a device's place: whichever is best here. */
export const AUTO_DEVICE = "auto";

/** A device by its name, or whichever is best here (`chooseDevice`). */
export type DeviceChoice = Device | "auto";

/** More threads than any machine has cores; the engine does not come back from many thousands. */
const MAX_THREADS = 512;

/** Where and with how many threads to compute. */
export interface DeviceOptions {
  readonly device: DeviceChoice;
  /** null: as many as there are cores. */
  readonly threads: number | null;
}

const MODEL = "Model";

export const deviceSettings: SettingsOf<DeviceOptions> = {
  device: setting(z.enum([...DEVICES, AUTO_DEVICE]), DEFAULT_DEVICE, {
    group: MODEL,
    description: `where to compute; ${AUTO_DEVICE}: a GPU that passes its check, else the CPU`,
    mayChangeOnResume: true,
  }),
  threads: setting(count.max(MAX_THREADS).nullable(), null, {
    group: MODEL,
    value: "n",
    description: "threads to compute with",
    defaultText: "all cores",
    mayChangeOnResume: true,
    knownAs: ["numThreads"],
  }),
};

/** Devices that a platform can have; whether their drivers are there shows when one is used. */
export function devicesHere(platform: string = process.platform): readonly Device[] {
  return DEVICES.filter((device) => DEVICE_TABLE[device].platforms.includes(platform));
}

/** What is known of a device. @throws UnsupportedError if there is none of that name. */
export function deviceSpec(device: Device): DeviceSpec {
  if (DEVICES.includes(device)) return DEVICE_TABLE[device];
  throw new UnsupportedError(`unknown device "${device}"; known: ${DEVICES.join(", ")}`);
}

/** The device computes in the machine's own memory. */
export function usesHostMemory(choice: DeviceChoice): boolean {
  return choice !== AUTO_DEVICE && deviceSpec(choice).isAlwaysThere;
}

/** @throws UnsupportedError if this platform cannot have the device, or there is none of that name. */
export function checkDevice(device: Device, platform: string = process.platform): void {
  const { platforms } = deviceSpec(device);
  if (platforms.includes(platform)) return;
  throw new UnsupportedError(
    `device "${device}" is not available on ${platform}; it runs on ${platforms.join(", ")}. Use --device ${DEFAULT_DEVICE}.`,
  );
}

/** What the user of a device should know. */
export function deviceWarnings(device: Device): readonly string[] {
  const { notice } = deviceSpec(device);
  if (notice === null) return [];
  return [`device "${device}" ${notice}, so compare its results with those of --device ${DEFAULT_DEVICE}`];
}
