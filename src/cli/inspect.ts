import type { Command } from "commander";
import { groupTensors, type InspectedTensor, type Inspection, inspect } from "../inspect/inspect.ts";
import { type MethodCost, methodCosts } from "../inspect/method-costs.ts";
import { sizeOf } from "../tensor/tensor.ts";
import { type Cli, examples } from "./command.ts";
import { formatBytes, formatCount, formatInteger } from "./display/format.ts";
import { labelled, printable, table } from "./display/text.ts";
import { UsageError } from "./errors.ts";
import { inspectSwap, type SwapFlags } from "./inspect-swap.ts";

/** `lowrank inspect`: what something on disk is, with shapes and sizes. */
export function build(command: Command, cli: Cli): void {
  command
    .argument(
      "[path]",
      "a model folder, .gguf or .safetensors file, adapter or run folder; with --swap a model",
    )
    .option("--tensors", "list every tensor instead of one line per kind")
    .option(
      "--methods",
      "what every method would cost on this model: parameters, bytes in memory and on disk",
    )
    .option("--swap", "measure switching between adapters on a model: time, memory, storage")
    .option(
      "--adapter <path>",
      "with --swap: an adapter; may be repeated",
      (text, all: string[]) => [...all, text],
      [],
    )
    .option("--count <n>", "with --swap: random adapters to make where none is given", "100")
    .option("--rank <n>", "with --swap: their rank", "8")
    .option("--json", "print as JSON")
    .addHelpText(
      "after",
      examples([
        "lowrank inspect model.gguf",
        "lowrank inspect runs/us-addresses-1",
        "lowrank inspect adapter --tensors",
        "lowrank inspect smollm2-135m --methods",
        "lowrank inspect --swap smollm2-135m",
      ]),
    )
    .action((path: string | undefined) => action(path, command.opts(), cli));
}

interface InspectFlags extends SwapFlags {
  readonly swap?: boolean;
  readonly tensors?: boolean;
  readonly methods?: boolean;
  readonly json?: boolean;
}

async function action(path: string | undefined, flags: InspectFlags, cli: Cli): Promise<void> {
  if (flags.swap) return inspectSwap(path ?? null, flags, cli);
  if (path === undefined) throw new UsageError("missing: the path of what to inspect");
  if (flags.methods) return cli.out.write(costText(await methodCosts(path), flags));
  const inspection = await inspect(path);
  cli.out.write(flags.json ? jsonOf(inspection, flags) : textOf(inspection, flags, cli.out.columns()));
}

/** A line for each method, with the options that training has by default. */
function costText(costs: readonly MethodCost[], flags: InspectFlags): string {
  if (flags.json) return `${JSON.stringify(costs, null, 2)}\n`;
  const rows = costs.map(({ method, trainableParameters, resources: r }) => [
    method,
    formatInteger(trainableParameters),
    ...[r.frozenBytes, r.trainableBytes, r.gradientBytes, r.optimizerBytes].map(formatBytes),
    ...[r.adapterBytes, r.checkpointBytes].map(formatBytes),
  ]);
  const head = ["Method", "Trained", "Frozen", "Weights", "Gradient", "Optimizer", "Adapter", "Checkpoint"];
  return `${table([head, ...rows], [1, 2, 3, 4, 5, 6, 7]).join("\n")}\n`;
}

function totals(tensors: readonly InspectedTensor[]): {
  tensors: number;
  parameters: number;
  sizeBytes: number;
} {
  return {
    tensors: tensors.length,
    parameters: tensors.reduce((sum, tensor) => sum + sizeOf(tensor.shape), 0),
    sizeBytes: tensors.reduce((sum, tensor) => sum + tensor.sizeBytes, 0),
  };
}

function jsonOf({ tensors, facts, ...what }: Inspection, flags: Pick<InspectFlags, "tensors">): string {
  const listed = flags.tensors ? { tensors } : { groups: groupTensors(tensors) };
  const all = { ...what, facts: Object.fromEntries(facts), totals: totals(tensors), ...listed };
  return `${JSON.stringify(all, null, 2)}\n`;
}

/** Facts, then a table of tensors with its total. */
export function textOf(
  inspection: Inspection,
  flags: Pick<InspectFlags, "tensors">,
  columns: number,
): string {
  const { path, kind, format, facts, tensors } = inspection;
  const what: [string, string] = [kind.replace(/^./, (ch) => ch.toUpperCase()), `${path} (${format})`];
  const lines = labelled([what, ...facts.map(([k, v]) => [k, printable(v)] as [string, string])], columns);
  if (tensors.length > 0)
    lines.push("", ...(flags.tensors ? tensorTable(tensors) : groupTable(tensors)), "", totalLine(tensors));
  return `${lines.join("\n")}\n`;
}

function totalLine(tensors: readonly InspectedTensor[]): string {
  const { parameters, sizeBytes } = totals(tensors);
  const count = `${formatInteger(tensors.length)} tensors`;
  return `${count}, ${formatInteger(parameters)} parameters (${formatCount(parameters)}), ${formatBytes(sizeBytes)}`;
}

function groupTable(tensors: readonly InspectedTensor[]): string[] {
  const rows = groupTensors(tensors).map((group) => [
    group.pattern,
    `${group.count} ×`,
    shapeText(group.shape),
    group.storage,
    formatInteger(group.parameters),
    formatBytes(group.sizeBytes),
  ]);
  return table([["Tensors", "", "Shape", "Type", "Parameters", "Size"], ...rows], [1, 4, 5]);
}

function tensorTable(tensors: readonly InspectedTensor[]): string[] {
  const rows = tensors.map((tensor) => [
    tensor.name,
    shapeText(tensor.shape),
    tensor.storage,
    formatBytes(tensor.sizeBytes),
  ]);
  return table([["Tensor", "Shape", "Type", "Size"], ...rows], [3]);
}

function shapeText(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}
