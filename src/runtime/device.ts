import { UnsupportedError } from "../errors.ts";

/** Where graphs run. */
export type Device = "cpu" | "cuda" | "webgpu" | "dml" | "coreml";

/** Every device name, the default first. */
export const DEVICES: readonly Device[] = ["cpu", "cuda", "webgpu", "dml", "coreml"];

const PLATFORMS: Readonly<Record<Device, readonly string[]>> = {
  cpu: ["linux", "win32", "darwin"],
  cuda: ["linux", "win32"],
  webgpu: ["linux", "win32", "darwin"],
  dml: ["win32"],
  coreml: ["darwin"],
};

/** @throws UnsupportedError if this platform cannot have the device, or there is none of that name. */
export function checkDevice(device: Device, platform: string = process.platform): void {
  if (!DEVICES.includes(device))
    throw new UnsupportedError(`unknown device "${device}"; known: ${DEVICES.join(", ")}`);
  if (!PLATFORMS[device].includes(platform))
    throw new UnsupportedError(
      `device "${device}" is not available on ${platform}; it runs on ${PLATFORMS[device].join(", ")}. Use --device cpu.`,
    );
}
