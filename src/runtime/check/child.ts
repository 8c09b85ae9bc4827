// The process of a check: a driver that crashes ends this one alone. usage: node child.js <device>
import { readdirSync, readlinkSync } from "node:fs";
import { availableParallelism } from "node:os";
import { createRuntime, type Runtime } from "../create-runtime.ts";
import { DEFAULT_DEVICE, type Device, deviceSpec } from "../device.ts";
import { graphFiles } from "../graph-file.ts";
import { openOrtNode } from "../ort-node.ts";
import { stepErrors, stepNumbers } from "./measure.ts";
import type { Checked, CheckReport } from "./protocol.ts";

const cores = availableParallelism();

function open(device: Device): Runtime {
  const spec = deviceSpec(device);
  const { lowering } = spec;
  return createRuntime(openOrtNode(spec, cores), graphFiles(), { device, threads: cores, lowering });
}

/** Drivers of hardware hold its file open; what computes in software has none. */
function driverFiles(): readonly string[] | null {
  try {
    const open = readdirSync("/proc/self/fd").flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/self/fd/${fd}`)];
      } catch {
        return []; // closed meanwhile
      }
    });
    return [...new Set(open.filter((path) => /^\/dev\/(dri\/render|nvidia\d|dxg|kfd)/.test(path)))];
  } catch {
    return null;
  }
}

async function check(device: Device): Promise<Checked> {
  const reference = open(DEFAULT_DEVICE);
  const cpu = await stepNumbers(reference);
  await reference.close();
  const runtime = open(device);
  const numbers = await stepNumbers(runtime);
  const files = driverFiles();
  await runtime.close();
  return {
    errors: stepErrors(cpu, numbers),
    cpuMs: cpu.productMs,
    deviceMs: numbers.productMs,
    driverFiles: files,
  };
}

/** Leaves at once: what a driver does at a process's end does not matter. */
function tell(report: CheckReport): void {
  process.send?.(report, undefined, undefined, () => process.exit(0));
}

check(process.argv[2] as Device).then(
  (checked) => tell({ type: "checked", checked }),
  (error: unknown) =>
    tell({ type: "failed", message: error instanceof Error ? error.message : String(error) }),
);
