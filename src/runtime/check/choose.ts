import { createHash } from "node:crypto";
import { join } from "node:path";
import { cacheFolder } from "../../io/cache-folder.ts";
import { readBytesIfThere, writeFileAtomic } from "../../io/disk.ts";
import { ownVersion } from "../../io/own-version.ts";
import {
  AUTO_DEVICE,
  checkDevice,
  DEFAULT_DEVICE,
  type Device,
  type DeviceChoice,
  deviceSpec,
  devicesHere,
  deviceWarnings,
} from "../device.ts";
import { engineVersion } from "../version.ts";
import { driverMark, type Gpu, gpusHere } from "./gpus.ts";
import { STEP_LIMIT } from "./measure.ts";
import { type CheckResult, runCheck } from "./run.ts";

/** A device to compute on, and what its user should know of it, a line each. */
export interface ChosenDevice {
  readonly device: Device;
  /** Why, where it was not named. */
  readonly reason: string | null;
  readonly notes: readonly string[];
}

/** What a check says of a device: whether it may be chosen, and why. */
export interface Verdict {
  readonly isUsable: boolean;
  readonly reason: string;
}

/** A GPU must be so much faster than the CPU at products to be chosen. Software drivers are many times slower. */
const LEAST_SPEED = 1.5;

/** The verdict on a checked device. Linux shows whether it held a GPU's driver open; elsewhere its speed alone tells. */
export function verdictOf(result: CheckResult): Verdict {
  if (!("checked" in result)) return { isUsable: false, reason: result.message };
  const { errors, cpuMs, deviceMs, driverFiles } = result.checked;
  const far = `loss ${errors.loss.toExponential(1)} and gradient ${errors.gradient.toExponential(1)} off the CPU's, at most ${STEP_LIMIT} allowed`;
  if (result.state === "wrong") return { isUsable: false, reason: `a step is wrong: ${far}` };
  const speed = cpuMs / deviceMs;
  const pace = `products ${speed.toPrecision(2)} times as fast as the CPU's`;
  if (driverFiles?.length === 0)
    return { isUsable: false, reason: `it computes in software, on the processor: ${pace}; ${far}` };
  return { isUsable: speed >= LEAST_SPEED, reason: `${pace}; ${far}` };
}

/** Where the machine's GPUs, checks and cache are; others in tests. */
export interface ChoiceMeans {
  readonly cacheDir?: string;
  readonly gpus?: readonly Gpu[] | null;
  readonly mark?: string;
  readonly check?: (device: Device) => Promise<CheckResult>;
}

function verdictPath(device: Device, { cacheDir, mark = driverMark() }: ChoiceMeans): string {
  const key = createHash("sha256").update([device, ownVersion(), engineVersion(), mark].join("\n"));
  return join(cacheFolder(cacheDir), "devices", `${key.digest("hex").slice(0, 32)}.json`);
}

async function readVerdict(path: string): Promise<Verdict | null> {
  try {
    const bytes = await readBytesIfThere(path);
    const { isUsable, reason } = JSON.parse(new TextDecoder().decode(bytes ?? undefined)) as Partial<Verdict>;
    return typeof isUsable === "boolean" && typeof reason === "string" ? { isUsable, reason } : null;
  } catch {
    return null; // not there, or damaged: checked again
  }
}

/** Notes a verdict for as long as machine, driver and versions stay. A check that timed out or crashed counts as well. */
export async function noteVerdict(device: Device, verdict: Verdict, means: ChoiceMeans = {}): Promise<void> {
  await writeFileAtomic(verdictPath(device, means), `${JSON.stringify(verdict)}\n`);
}

async function verdictOn(device: Device, means: ChoiceMeans): Promise<Verdict> {
  const known = await readVerdict(verdictPath(device, means));
  if (known) return known;
  const result = await (means.check ?? runCheck)(device);
  const verdict = verdictOf(result);
  // A machine that was busy, or short of memory, is another one the next time. Without a cache it is checked each time.
  const isLasting = result.state !== "late" && result.state !== "stopped";
  if (isLasting) await noteVerdict(device, verdict, means).catch(() => undefined);
  return verdict;
}

/** A named device as it is; for `auto` a GPU that is there, computes a step as the CPU does and is faster, else the CPU, with the
 *  reason among the notes. A check takes seconds, once for each version of driver, ONNX Runtime and lowrank.
 *  @throws UnsupportedError for a device that the platform cannot have */
export async function chooseDevice(choice: DeviceChoice, means: ChoiceMeans = {}): Promise<ChosenDevice> {
  if (choice !== AUTO_DEVICE) {
    checkDevice(choice);
    return { device: choice, reason: null, notes: deviceWarnings(choice) };
  }
  const gpus = means.gpus === undefined ? gpusHere() : means.gpus;
  const say = (device: Device, reason: string): ChosenDevice => ({
    device,
    reason,
    notes: [`--device ${AUTO_DEVICE} takes ${device}: ${reason}`, ...deviceWarnings(device)],
  });
  if (gpus?.length === 0) return say(DEFAULT_DEVICE, "there is no GPU on this machine");
  const reasons: string[] = [];
  for (const device of devicesHere().filter((name) => deviceSpec(name).mayBeChosen)) {
    const { isUsable, reason } = await verdictOn(device, means);
    if (isUsable) return say(device, reason);
    reasons.push(`${device}: ${reason}`);
  }
  return say(DEFAULT_DEVICE, reasons.join("; "));
}
