import type { Command } from "commander";
import { type Cli, examples } from "./command.ts";
import { importExport } from "./library.ts";
import { addSettings, settingsOf } from "./options.ts";
import { requireFlags, writeModel, writeSettings } from "./write-model.ts";

const schema = writeSettings("onnx");

/** `lowrank export`: a model, with or without adapters, in another program's format. */
export function build(command: Command, cli: Cli): void {
  addSettings(command, schema)
    .addHelpText(
      "after",
      examples([
        "lowrank export --output smollm2",
        "lowrank export --adapter runs/us-addresses-1 --output addresses --variants q8,q4f16",
        "lowrank export --model ./base --output base.gguf --format gguf --dtype q8_0",
      ]),
    )
    .action(() => action(command, cli));
}

async function action(command: Command, cli: Cli): Promise<void> {
  const { output } = settingsOf(command, schema);
  requireFlags(output === null ? ["--output"] : []);
  await writeModel(command, cli, schema, importExport);
}
