import { UnsupportedError } from "../../errors.ts";
import type { OnnxVariant } from "../../formats/transformers-js/layout.ts";
import { DEFAULT_VARIANTS } from "../../models/onnx/write.ts";
import { pathsOf } from "../use/adapter-choice.ts";
import { type FilesOptions, type WrittenFiles, writeModelFiles } from "./files.ts";
import { type ExportedVariant, writeModelOnnx } from "./onnx.ts";

export type { MergeDType } from "./files.ts";
export type { ExportedVariant } from "./onnx.ts";

/** What a model is written as: a Hugging Face folder, a GGUF file for llama.cpp and Ollama, or a folder of ONNX graphs that
 *  transformers.js opens. */
export type MergeFormat = "folder" | "gguf" | "onnx";

/** A model to write, or base and adapters as one, and where to. */
export interface ExportOptions extends Omit<FilesOptions, "format"> {
  /** Default "folder". */
  readonly format?: MergeFormat;
  /** Precisions of ONNX graphs; default fp32, q8 and q4. */
  readonly variants?: readonly OnnxVariant[];
  /** Positions of ONNX graphs; default: the model's, at most 8192. */
  readonly contextLength?: number;
}

/** What to merge, and where to. */
export type MergeOptions = ExportOptions;

/** What was written. */
export interface ExportResult extends WrittenFiles {
  /** Of ONNX each precision; else none. */
  readonly variants: readonly ExportedVariant[];
}

/** What was written. */
export type MergeResult = ExportResult;

const FORMATS: readonly MergeFormat[] = ["folder", "gguf", "onnx"];

/** @throws UnsupportedError for an unknown format, and for options that have no effect on it */
function check({ format = "folder", dtype, variants, contextLength }: ExportOptions): void {
  if (!FORMATS.includes(format))
    throw new UnsupportedError(`unknown format "${format}"; known: ${FORMATS.join(", ")}`);
  const given =
    format === "onnx" ? { dtype: dtype === "float32" ? undefined : dtype } : { variants, contextLength };
  const idle = Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [name]));
  if (idle.length > 0)
    throw new UnsupportedError(
      `${idle.join(" and ")} ${idle.length === 1 ? "has" : "have"} no effect on the format "${format}"` +
        (format === "onnx" ? ": its precisions are `variants`" : ""),
    );
}

/** Writes a model, or base and adapter (of several their weighted sum) as one, for other programs: a folder that transformers and
 *  vLLM load, a GGUF file, or a folder for transformers.js. What was written is opened again and compared.
 *  @throws UnsupportedError, InputError, LowrankError ("merge") as `writeModelFiles` and `writeModelOnnx` */
export async function exportModel(options: ExportOptions): Promise<ExportResult> {
  check(options);
  const { format = "folder", variants = DEFAULT_VARIANTS, ...rest } = options;
  if (format !== "onnx") return { ...(await writeModelFiles({ ...rest, format })), variants: [] };
  return writeModelOnnx({ ...rest, variants });
}

/** `exportModel` of base and adapter as one plain model, so that inference costs nothing extra (LoRA §4.1).
 *  @throws UnsupportedError without an adapter; as `exportModel` */
export async function mergeAdapter(options: MergeOptions): Promise<MergeResult> {
  check(options);
  if (pathsOf(options).size === 0) throw new UnsupportedError("there is no adapter to merge");
  return exportModel(options);
}
