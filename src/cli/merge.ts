import type { Command } from "commander";
import { type Cli, examples } from "./command.ts";
import { importMerge } from "./library.ts";
import { addSettings, settingsOf } from "./options.ts";
import { requireFlags, writeModel, writeSettings } from "./write-model.ts";

const schema = writeSettings("folder");

/** `lowrank merge`: base and adapter as one plain model. */
export function build(command: Command, cli: Cli): void {
  addSettings(command, schema)
    .addHelpText(
      "after",
      examples([
        "lowrank merge --adapter runs/us-addresses-1 --output merged",
        "lowrank merge --adapter a=0.7 --adapter b=0.3 --output m --dtype bfloat16",
        "lowrank merge --adapter a --output m.gguf --format gguf --dtype q8_0",
        "lowrank merge --adapter a --output m --format onnx",
      ]),
    )
    .action(() => action(command, cli));
}

async function action(command: Command, cli: Cli): Promise<void> {
  const { adapter, output } = settingsOf(command, schema);
  requireFlags([...(adapter.length === 0 ? ["--adapter"] : []), ...(output === null ? ["--output"] : [])]);
  await writeModel(command, cli, schema, importMerge);
}
