import type { Command } from "commander";
import { type DeviceReport, type DevicesReport, devices } from "../inspect/devices.ts";
import { installDevice } from "../runtime/check/install.ts";
import { STEP_LIMIT } from "../runtime/check/measure.ts";
import type { Device } from "../runtime/device.ts";
import { type Cli, examples } from "./command.ts";
import { formatBytes } from "./display/format.ts";
import { labelled } from "./display/text.ts";
import { progressTo } from "./model-settings.ts";

/** `lowrank devices`: where this machine can compute, each device checked beside the CPU. */
export function build(command: Command, cli: Cli): void {
  command
    .option("--json", "print as JSON")
    .option("--install <device>", "put a device's provider in place, from the Python package that carries it")
    .addHelpText(
      "after",
      `${examples(["lowrank devices", "lowrank devices --json", "lowrank devices --install cuda"])}\n
A check is one training step of a tiny model, in a process of its own: its loss and gradient may be ${STEP_LIMIT} (relative) off the CPU's.`,
    )
    .action((flags: { json?: boolean; install?: string }) => action(flags, cli));
}

async function action(
  { json, install }: { readonly json?: boolean; readonly install?: string },
  cli: Cli,
): Promise<void> {
  if (install !== undefined) return put(install, json === true, cli);
  const report = await devices();
  cli.out.write(json ? `${JSON.stringify(report, null, 2)}\n` : `${textOf(report, cli.out.columns())}\n`);
}

/** Installs a device's provider and says what is still missing. */
async function put(device: string, isJson: boolean, cli: Cli): Promise<void> {
  const { onProgress, close } = progressTo(cli);
  const { files, missing } = await installDevice(device as Device, { onProgress }).finally(close);
  if (isJson) return cli.out.write(`${JSON.stringify({ device, files, missing }, null, 2)}\n`);
  const rest = missing.length === 0 ? ["nothing is missing: lowrank devices checks it"] : missing;
  cli.out.write(`${[...files.map((path) => `in place: ${path}`), ...rest].join("\n")}\n`);
}

const STATES: Readonly<Record<DeviceReport["state"], string>> = {
  there: "there",
  wrong: "computes wrongly",
  missing: "not there",
  crashed: "its driver crashed",
  stopped: "its check was ended by others",
  late: "did not answer",
};

/** A line for each device, then what stands for all. */
export function textOf({ devices: all, gpus, onnxRuntime, auto }: DevicesReport, columns: number): string {
  const rows = all.map(({ device, state, facts, notice }): [string, string] => [
    device,
    [`${STATES[state]}: ${facts.join("; ")}`, ...(notice === null ? [] : [notice])].join("; "),
  ]);
  return labelled(
    [
      ...rows,
      ["", ""],
      ["GPUs", gpuText(gpus)],
      ["auto", `${auto.device} (${auto.reason})`],
      ["ONNX Runtime", onnxRuntime],
    ],
    columns,
  ).join("\n");
}

function gpuText(gpus: DevicesReport["gpus"]): string {
  if (gpus === null) return "this platform does not tell";
  if (gpus.length === 0) return "none that the kernel has a driver for";
  return gpus
    .map(({ name, memoryBytes }) => (memoryBytes === null ? name : `${name}, ${formatBytes(memoryBytes)}`))
    .join("; ");
}
