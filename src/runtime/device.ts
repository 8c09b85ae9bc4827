import { z } from "zod";
import { UnsupportedError } from "../errors.ts";
import { type SettingsOf, setting } from "../options/setting.ts";
import { count } from "../options/values.ts";

/** Where graphs run. */
export type Device = "cpu" | "cuda" | "webgpu" | "dml" | "coreml";

/** Every device name, the default first. */
export const DEVICES: readonly [Device, ...Device[]] = ["cpu", "cuda", "webgpu", "dml", "coreml"];

/** More threads than any machine has cores; the engine does not come back from many thousands. */
const MAX_THREADS = 512;

/** Where and with how many threads to compute. */
export interface DeviceOptions {
  readonly device: Device;
  /** null: as many as there are cores. */
  readonly threads: number | null;
}

const MODEL = "Model";

export const deviceSettings: SettingsOf<DeviceOptions> = {
  device: setting(z.enum(DEVICES), "cpu", {
    group: MODEL,
    description: "where to compute",
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

const PLATFORMS: Readonly<Record<Device, readonly string[]>> = {
  cpu: ["linux", "win32", "darwin"],
  cuda: ["linux", "win32"],
  webgpu: ["linux", "win32", "darwin"],
  dml: ["win32"],
  coreml: ["darwin"],
};

/** Devices that a platform can have; whether their drivers are there shows when one is used. */
export function devicesHere(platform: string = process.platform): readonly Device[] {
  return DEVICES.filter((device) => PLATFORMS[device].includes(platform));
}

/** @throws UnsupportedError if this platform cannot have the device, or there is none of that name. */
export function checkDevice(device: Device, platform: string = process.platform): void {
  if (!DEVICES.includes(device))
    throw new UnsupportedError(`unknown device "${device}"; known: ${DEVICES.join(", ")}`);
  if (!PLATFORMS[device].includes(platform))
    throw new UnsupportedError(
      `device "${device}" is not available on ${platform}; it runs on ${PLATFORMS[device].join(", ")}. Use --device cpu.`,
    );
}
