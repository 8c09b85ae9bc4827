import { availableParallelism, cpus, totalmem } from "node:os";
import { chooseDevice, noteVerdict, verdictOf } from "../runtime/check/choose.ts";
import { type Gpu, gpusHere } from "../runtime/check/gpus.ts";
import { missingFiles } from "../runtime/check/missing.ts";
import { type CheckResult, runCheck } from "../runtime/check/run.ts";
import { AUTO_DEVICE, type Device, deviceSpec, devicesHere } from "../runtime/device.ts";
import { engineVersion } from "../runtime/version.ts";

/** What `lowrank devices` knows of one device. */
export interface DeviceReport {
  readonly device: Device;
  /** "there" passed its check; the reference is always so. */
  readonly state: "there" | "wrong" | "missing" | "crashed" | "stopped" | "late";
  /** What it is, what its check said, or what exactly is missing. */
  readonly facts: readonly string[];
  /** How it was tested; null: on every machine. */
  readonly notice: string | null;
  /** Loss and gradient beside the CPU's, and the time of products; null where it was not checked. */
  readonly check: Extract<CheckResult, { checked: unknown }>["checked"] | null;
}

/** Every device that this platform can have, and what `--device auto` would take. */
export interface DevicesReport {
  readonly onnxRuntime: string;
  /** GPUs that the system knows; null where it does not tell. */
  readonly gpus: readonly Gpu[] | null;
  readonly devices: readonly DeviceReport[];
  readonly auto: { readonly device: Device; readonly reason: string };
}

/** Looks at every device of this platform; each is checked in a process of its own, which may crash. */
export async function devices(
  check: (device: Device) => Promise<CheckResult> = runCheck,
): Promise<DevicesReport> {
  const reports: DeviceReport[] = [];
  for (const device of devicesHere()) reports.push(await reportOn(device, check));
  const { device, reason } = await chooseDevice(AUTO_DEVICE, { check });
  return {
    onnxRuntime: engineVersion(),
    gpus: gpusHere(),
    devices: reports,
    auto: { device, reason: reason as string },
  };
}

async function reportOn(
  device: Device,
  check: (device: Device) => Promise<CheckResult>,
): Promise<DeviceReport> {
  const { isAlwaysThere, notice, mayBeChosen } = deviceSpec(device);
  const about = { device, notice };
  if (isAlwaysThere) {
    const memory = Math.round(totalmem() / 2 ** 30);
    const facts = [
      cpus()[0]?.model.trim() ?? "unknown",
      `${availableParallelism()} cores`,
      `${memory} GiB of memory`,
    ];
    return { ...about, state: "there", facts, check: null };
  }
  const missing = await missingFiles(device);
  if (missing.length > 0) return { ...about, state: "missing", facts: missing, check: null };
  const result = await check(device);
  const verdict = verdictOf(result);
  if (mayBeChosen) await noteVerdict(device, verdict).catch(() => undefined);
  if (!("checked" in result)) return { ...about, state: result.state, facts: [result.message], check: null };
  const state = result.state === "passed" ? "there" : "wrong";
  return { ...about, state, facts: [verdict.reason], check: result.checked };
}
