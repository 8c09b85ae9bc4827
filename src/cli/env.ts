import type { Command } from "commander";
import { environment } from "../inspect/environment.ts";
import { type Cli, examples } from "./command.ts";
import { formatBytes } from "./display/format.ts";
import { labelled } from "./display/text.ts";

/** `lowrank env`: versions, machine and folders, for a report of a defect. */
export function build(command: Command, cli: Cli): void {
  command
    .option("--json", "print as JSON")
    .addHelpText(
      "after",
      `${examples(["lowrank env"])}\n\nOf environment variables only the names are printed.`,
    )
    .action(({ json }: { json?: boolean }) => action(json === true, cli));
}

async function action(isJson: boolean, { out }: Cli): Promise<void> {
  const found = await environment();
  if (isJson) {
    out.write(`${JSON.stringify(found, null, 2)}\n`);
    return;
  }
  const { cacheBytes, variables } = found;
  const rows: [string, string][] = [
    ["lowrank", found.lowrank],
    ["Node", found.node],
    ["ONNX Runtime", found.onnxRuntime],
    ["System", found.system],
    ["CPU", `${found.cpu}, ${found.cores} cores`],
    ["Memory", `${formatBytes(found.memoryBytes)}, ${formatBytes(found.freeMemoryBytes)} free`],
    ["Devices", `${found.devices.join(", ")} (possible on this platform)`],
    ["Cache", `${found.cacheFolder} (${cacheBytes === null ? "not there" : formatBytes(cacheBytes)})`],
    ["Variables", variables.length > 0 ? variables.join(", ") : "none that count here"],
  ];
  out.write(`${labelled(rows, out.columns()).join("\n")}\n`);
}
