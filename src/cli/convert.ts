import type { Command } from "commander";
import { z } from "zod";
import { setting } from "../options/setting.ts";
import { type Cli, examples } from "./command.ts";
import { UsageError } from "./errors.ts";
import { importConvert } from "./library.ts";
import { modelSettings, oneAdapter, progressTo, warn } from "./model-settings.ts";
import { addSettings, settingsOf } from "./options.ts";

const OUTPUT = "Output";
const { model, anyBase, offline } = modelSettings;

const schema = z.strictObject({
  model,
  adapter: oneAdapter,
  anyBase,
  offline,
  to: setting(z.enum(["peft", "mlx", "gguf"]).nullable(), null, {
    group: OUTPUT,
    value: "format",
    description: "peft (transformers, vLLM), mlx (mlx-lm) or gguf (llama.cpp, Ollama)",
  }),
  output: setting(z.string().min(1).nullable(), null, {
    group: OUTPUT,
    value: "path",
    description: "new folder to write the adapter to; with --to gguf a new .gguf file",
    knownAs: ["outputDir", "outfile"],
  }),
});

/** `lowrank convert`: an adapter in another program's format. */
export function build(command: Command, cli: Cli): void {
  addSettings(command, schema)
    .addHelpText(
      "after",
      examples([
        "lowrank convert --adapter runs/us-addresses-1 --to gguf --output adapter.gguf",
        "lowrank convert --adapter adapter.gguf --to peft --output adapter --model ./base",
      ]),
    )
    .action(() => action(command, cli));
}

async function action(command: Command, cli: Cli): Promise<void> {
  const { model, adapter, anyBase, to, output, offline } = settingsOf(command, schema);
  const missing = Object.entries({ "--adapter": adapter, "--to": to, "--output": output })
    .filter(([, value]) => value === null)
    .map(([flag]) => flag);
  if (adapter === null || to === null || output === null)
    throw new UsageError(`missing: ${missing.join(" and ")}`);
  const progress = progressTo(cli);
  try {
    const convert = await importConvert();
    const base = model === null ? {} : { model };
    const result = await convert({
      adapter,
      to,
      output,
      offline,
      anyBase,
      onProgress: progress.onProgress,
      ...base,
    });
    progress.close();
    warn(cli, result.warnings);
    cli.out.write(
      `converted LoRA of ${result.modules} modules, rank ${result.rank}; it is in ${result.output}\n`,
    );
  } finally {
    progress.close();
  }
}
