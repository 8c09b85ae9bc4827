import type { Command } from "commander";
import { z } from "zod";
import { setting } from "../options/setting.ts";
import { DEFAULT_DEVICE } from "../runtime/device.ts";
import { type Cli, examples } from "./command.ts";
import { UsageError } from "./errors.ts";
import { importMerge } from "./library.ts";
import { modelSettings, progressTo, resolveModel, warn } from "./model-settings.ts";
import { addSettings, settingsOf } from "./options.ts";

const OUTPUT = "Output";
const { model, adapter, anyBase, offline } = modelSettings;

const schema = z.strictObject({
  model,
  adapter,
  anyBase,
  offline,
  output: setting(z.string().min(1).nullable(), null, {
    group: OUTPUT,
    value: "path",
    description: "new folder to write the merged model to; with --format gguf a new .gguf file",
    knownAs: ["outputDir", "savePath"],
  }),
  format: setting(z.enum(["folder", "gguf"]), "folder", {
    group: OUTPUT,
    description: "a Hugging Face folder, or a file for llama.cpp and Ollama",
  }),
  dtype: setting(z.enum(["float32", "float16", "bfloat16", "q8_0", "q4_0"]), "float32", {
    group: OUTPUT,
    description: "type of the written weights; q8_0 and q4_0 with --format gguf only",
    knownAs: ["outtype"],
  }),
});

/** `lowrank merge`: base and adapter as one plain model. */
export function build(command: Command, cli: Cli): void {
  addSettings(command, schema)
    .addHelpText(
      "after",
      examples([
        "lowrank merge --adapter runs/us-addresses-1 --output merged",
        "lowrank merge --adapter a=0.7 --adapter b=0.3 --output m --dtype bfloat16",
        "lowrank merge --adapter a --output m.gguf --format gguf --dtype q8_0",
      ]),
    )
    .action(() => action(command, cli));
}

async function action(command: Command, cli: Cli): Promise<void> {
  const choice = settingsOf(command, schema);
  const { output, format, dtype } = choice;
  const missing = [choice.adapter.length === 0 ? "--adapter" : "", output === null ? "--output" : ""];
  if (output === null || missing[0] !== "")
    throw new UsageError(`missing: ${missing.filter(Boolean).join(" and ")}`);
  const progress = progressTo(cli);
  try {
    const { model, adapters, weights } = await resolveModel(
      { ...choice, baseBits: 32, device: DEFAULT_DEVICE, threads: null },
      progress.onProgress,
    );
    const merge = await importMerge();
    const result = await merge({
      ...{ model, adapters, weights, anyBase: choice.anyBase },
      output,
      format,
      dtype,
      offline: choice.offline,
      onProgress: progress.onProgress,
    });
    progress.close();
    warn(cli, result.warnings);
    const difference = result.maxLogitDifference.toPrecision(2);
    const rounding = dtype === "float32" ? "" : `, by the rounding of ${dtype}`;
    cli.out.write(
      `merged ${result.changedWeights} weights; the model is in ${result.output}\n` +
        `opened again, its logits differ from those of base and adapter apart by ${difference} at most${rounding}\n`,
    );
  } finally {
    progress.close();
  }
}
