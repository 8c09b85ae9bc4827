import type { Command } from "commander";
import { z } from "zod";
import { type Setting, setting } from "../train/settings.ts";
import { type Cli, examples } from "./command.ts";
import { UsageError } from "./errors.ts";
import { importMerge } from "./library.ts";
import { modelSettings, progressTo, resolveModel, warn } from "./model-settings.ts";
import { addSettings, settingsOf } from "./options.ts";

const OUTPUT = "Output";
const { model, adapter, offline } = modelSettings;

const schema = z.strictObject({
  model,
  adapter,
  offline,
  output: setting(z.string().min(1).nullable(), null, {
    group: OUTPUT,
    value: "folder",
    description: "folder to write the merged model to",
    knownAs: ["outputDir", "savePath"],
  }) as Setting<string | null>,
  dtype: setting(z.enum(["float32", "float16", "bfloat16"]), "float32", {
    group: OUTPUT,
    description: "type of the written weights",
    knownAs: ["outtype"],
  }) as Setting<"float32" | "float16" | "bfloat16">,
});

/** `lowrank merge`: base and adapter as one plain Hugging Face folder. */
export function build(command: Command, cli: Cli): void {
  addSettings(command, schema)
    .addHelpText(
      "after",
      examples([
        "lowrank merge --adapter runs/shell-recipes-1 --output merged",
        "lowrank merge --adapter a --output m --dtype bfloat16",
      ]),
    )
    .action(() => action(command, cli));
}

async function action(command: Command, cli: Cli): Promise<void> {
  const choice = settingsOf(command, schema);
  const { output, dtype } = choice;
  const missing = [choice.adapter === null ? "--adapter" : "", output === null ? "--output" : ""].filter(
    Boolean,
  );
  if (choice.adapter === null || output === null) throw new UsageError(`missing: ${missing.join(" and ")}`);
  const progress = progressTo(cli);
  try {
    const source = await resolveModel({ ...choice, device: "cpu", threads: null }, progress.onProgress);
    const merge = await importMerge();
    const result = await merge({
      model: source.model,
      adapter: source.adapter ?? choice.adapter,
      output,
      dtype,
      offline: choice.offline,
      onProgress: progress.onProgress,
    });
    progress.close();
    warn(cli, result.warnings);
    const difference = result.maxLogitDifference.toPrecision(2);
    cli.out.write(
      `merged ${result.changedWeights} weights; the model is in ${result.output}\n` +
        `opened again, its logits differ from those of base and adapter apart by ${difference} at most\n`,
    );
  } finally {
    progress.close();
  }
}
