import type { Command } from "commander";
import { type DeviceReport, type DevicesReport, devices } from "../inspect/devices.ts";
import { STEP_LIMIT } from "../runtime/check/measure.ts";
import { type Cli, examples } from "./command.ts";
import { formatBytes } from "./display/format.ts";
import { labelled } from "./display/text.ts";

/** `lowrank devices`: where this machine can compute, each device checked beside the CPU. */
export function build(command: Command, cli: Cli): void {
  command
    .option("--json", "print as JSON")
    .addHelpText(
      "after",
      `${examples(["lowrank devices", "lowrank devices --json"])}\n
A check is one training step of a tiny model, in a process of its own: its loss and gradient may be ${STEP_LIMIT} (relative) off the CPU's.`,
    )
    .action(({ json }: { json?: boolean }) => action(json === true, cli));
}

async function action(isJson: boolean, { out }: Cli): Promise<void> {
  const report = await devices();
  out.write(isJson ? `${JSON.stringify(report, null, 2)}\n` : `${textOf(report, out.columns())}\n`);
}

const STATES: Readonly<Record<DeviceReport["state"], string>> = {
  there: "there",
  wrong: "computes wrongly",
  missing: "not there",
  crashed: "its driver crashed",
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
