import { UnsupportedError } from "../errors.ts";
import { readAdapter } from "../formats/peft-adapter.ts";
import { resolveAdapter } from "../formats/resolve.ts";
import type { FloatDType } from "../formats/safetensors-write.ts";
import { writeModelFolder } from "../formats/save-folder.ts";
import { type OpenBaseOptions, openBase, openSource } from "../models/base-model.ts";
import { openRuntime } from "../runtime/runtime.ts";
import { adapterParameters } from "./adapter.ts";
import { mergedWeights } from "./delta.ts";
import { lora } from "./lora.ts";

/** Type of the written weights. */
export type MergeDType = "float32" | "float16" | "bfloat16";

const FILE_DTYPES: Readonly<Record<MergeDType, FloatDType>> = {
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
};

/** What to merge, and where to. */
export interface MergeOptions extends OpenBaseOptions {
  /** Alias, folder, .gguf file or Hub id. */
  readonly model: string;
  /** PEFT adapter: folder or Hub id. */
  readonly adapter: string;
  /** New folder; must not hold anything yet. */
  readonly output: string;
  /** Default float32. */
  readonly dtype?: MergeDType;
}

/** What was written. */
export interface MergeResult {
  readonly output: string;
  /** Weights that the adapter changed. */
  readonly changedWeights: number;
  readonly warnings: readonly string[];
}

function checkOutput({ output, dtype = "float32" }: MergeOptions): FloatDType {
  const type = Object.hasOwn(FILE_DTYPES, dtype) ? FILE_DTYPES[dtype] : undefined;
  if (type !== undefined && !output.toLowerCase().endsWith(".gguf")) return type;
  throw new UnsupportedError(
    "an adapter cannot be merged into a base that stays quantized: most of its change is smaller than a quantization step " +
      "and would be lost. Merge to a folder (float32, float16 or bfloat16) and quantize that.",
  );
}

/** Writes base and adapter as one plain Hugging Face folder: config, tokenizer and safetensors, so that any program for such
 *  models loads it and inference costs nothing extra (LoRA §4.1). A quantized base is written dequantized.
 *  @throws UnsupportedError for a quantized output; InputError if the adapter does not fit; as `openBase` else */
export async function mergeAdapter(options: MergeOptions): Promise<MergeResult> {
  const dtype = checkOutput(options);
  const base = await openBase(options.model, options);
  const folder = await resolveAdapter(options.adapter, { offline: options.offline ?? false });
  const file = await readAdapter(folder);
  const adaptation = lora(file.config, base.config.family, base.modules);
  const theta = adapterParameters(adaptation, base.config.family, file, folder);
  const runtime = openRuntime();
  const merged = mergedWeights(adaptation, theta, base.weights, runtime);
  const source = await openSource(options.model, options);
  try {
    const changed = new Set(merged.paths);
    const { output, onProgress } = options;
    await writeModelFolder(output, source, {
      dtype,
      override: (path) => (changed.has(path) ? merged.read(path) : null),
      ...(onProgress ? { onProgress: (p) => onProgress({ ...p, what: "writing the merged model" }) } : {}),
    });
    return { output, changedWeights: changed.size, warnings: file.warnings };
  } finally {
    await source.close();
    await merged.close();
    await runtime.close();
  }
}
