import type { Command } from "commander";
import { z } from "zod";
import { type SettingsOf, setting } from "../options/setting.ts";
import { count, names } from "../options/values.ts";
import type { ExportOptions, ExportResult, MergeDType, MergeFormat } from "../peft/merge/merge.ts";
import { DEFAULT_DEVICE } from "../runtime/device.ts";
import type { Cli } from "./command.ts";
import { formatBytes } from "./display/format.ts";
import { UsageError } from "./errors.ts";
import { type ModelChoice, modelSettings, progressTo, resolveModel, warn } from "./model-settings.ts";
import { settingsOf } from "./options.ts";

const OUTPUT = "Output";
const { model, adapter, anyBase, offline } = modelSettings;

const FORMATS: readonly MergeFormat[] = ["folder", "gguf", "onnx"];
const DTYPES: readonly MergeDType[] = [
  ...(["float32", "float16", "bfloat16", "q8_0", "q4_0", "q4_k_m", "q5_k_m", "q6_k"] as const),
];

/** What to write, and where to. */
export interface WriteChoice extends Pick<ModelChoice, "model" | "adapter" | "anyBase" | "offline"> {
  readonly output: string | null;
  readonly format: MergeFormat;
  readonly dtype: MergeDType | null;
  readonly variants: readonly string[] | null;
  readonly contextLength: number | null;
}

type Schema = z.ZodObject<SettingsOf<WriteChoice>, z.core.$strict>;

/** What `merge` and `export` take. `fallback`: the format where none is given. */
export function writeSettings(fallback: MergeFormat): Schema {
  return z.strictObject({
    model,
    adapter,
    anyBase,
    offline,
    output: setting(z.string().min(1).nullable(), null, {
      group: OUTPUT,
      value: "path",
      description: "new folder to write the model to; with --format gguf a new .gguf file",
      knownAs: ["outputDir", "savePath"],
    }),
    format: setting(z.enum(FORMATS), fallback, {
      group: OUTPUT,
      description:
        "a Hugging Face folder, a file for llama.cpp and Ollama, or ONNX graphs for transformers.js (Node, browsers)",
    }),
    dtype: setting(z.enum(DTYPES).nullable(), null, {
      group: OUTPUT,
      description: "type of the written weights, those from q8_0 on with --format gguf only; not for onnx",
      defaultText: "float32",
      knownAs: ["outtype"],
    }),
    variants: setting(names.nullable(), null, {
      group: OUTPUT,
      value: "names",
      description: "precisions of --format onnx, between commas: fp32, fp16, q8, q4, q4f16",
      defaultText: "fp32,q8,q4",
      knownAs: ["quantizations"],
    }),
    contextLength: setting(count.nullable(), null, {
      group: OUTPUT,
      value: "tokens",
      description: "positions of --format onnx",
      defaultText: "the model's, at most 8192",
    }),
  });
}

/** Writes a model as the flags say, and tells what was written. */
export async function writeModel(
  command: Command,
  cli: Cli,
  schema: Schema,
  load: () => Promise<(options: ExportOptions) => Promise<ExportResult>>,
): Promise<void> {
  const choice = settingsOf(command, schema);
  const { output, format, dtype, variants, contextLength } = choice;
  const progress = progressTo(cli);
  try {
    const { model, adapters, weights } = await resolveModel(
      { ...choice, baseBits: 32, device: DEFAULT_DEVICE, threads: null },
      progress.onProgress,
    );
    const write = await load();
    const result = await write({
      ...{ model, adapters, anyBase: choice.anyBase, offline: choice.offline, format },
      ...(Object.keys(weights).length > 0 ? { weights } : {}),
      output: output as string,
      ...(dtype === null ? {} : { dtype }),
      ...(variants === null ? {} : { variants: variants as ExportOptions["variants"] & {} }),
      ...(contextLength === null ? {} : { contextLength }),
      onProgress: progress.onProgress,
    });
    progress.close();
    warn(cli, result.warnings);
    cli.out.write(resultText(result, dtype ?? "float32", choice.adapter.length > 0));
  } finally {
    progress.close();
  }
}

/** @throws UsageError naming the flags that are missing */
export function requireFlags(missing: readonly string[]): void {
  if (missing.length > 0) throw new UsageError(`missing: ${missing.join(" and ")}`);
}

function resultText(result: ExportResult, dtype: MergeDType, isMerged: boolean): string {
  const { output, changedWeights, variants, maxLogitDifference } = result;
  const merged = isMerged ? `merged ${changedWeights} weights; ` : "";
  const head = `${merged}the model is in ${output}\n`;
  if (variants.length > 0) return head + variants.map((v) => variantText(v)).join("");
  const difference = maxLogitDifference.toPrecision(2);
  const rounding = dtype === "float32" ? "" : `, by the rounding of ${dtype}`;
  const others = isMerged ? "base and adapter apart" : "the model";
  return `${head}opened again, its logits differ from those of ${others} by ${difference} at most${rounding}\n`;
}

function variantText({ variant, sizeBytes, maxDifference }: ExportResult["variants"][number]): string {
  return `${variant.padEnd(6)} ${formatBytes(sizeBytes)}; run, it differs from the model by ${maxDifference.toPrecision(2)} at most\n`;
}
