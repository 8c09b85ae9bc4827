import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { LowrankError, UnsupportedError } from "../errors.ts";
import { cacheFolder } from "../formats/cache.ts";
import type { FloatDType } from "../formats/safetensors-write.ts";
import { requireFreeFolder, writeModelFolder } from "../formats/save-folder.ts";
import { type BaseModel, type OpenBaseOptions, openBase, openSource } from "../models/base-model.ts";
import { openRuntime, type Runtime } from "../runtime/runtime.ts";
import { type OpenedAdapter, openAdapter } from "./adapter.ts";
import { type MergedWeights, mergedWeights } from "./delta.ts";
import { compareLogits } from "./merge-check.ts";

/** Type of the written weights. */
export type MergeDType = "float32" | "float16" | "bfloat16";

interface DTypeFacts {
  readonly file: FloatDType;
  /** Largest logit difference that rounding explains, as a share of the largest logit. */
  readonly tolerance: number;
}

// Seen on SmolLM2 with a trained adapter: 1.4e-6, 1.2e-3 and 5e-3; on tiny random models up to 2.3e-6, 4e-3 and 5e-2.
// Without its adapter SmolLM2 is off by 0.3.
const DTYPES: Readonly<Record<MergeDType, DTypeFacts>> = {
  float32: { file: "F32", tolerance: 1e-4 },
  float16: { file: "F16", tolerance: 2e-2 },
  bfloat16: { file: "BF16", tolerance: 1e-1 },
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
  /** Largest difference of a logit between the written model and base and adapter apart, on a short text. */
  readonly maxLogitDifference: number;
  readonly warnings: readonly string[];
}

function checkOutput({ output, dtype = "float32" }: MergeOptions): DTypeFacts {
  const facts = Object.hasOwn(DTYPES, dtype) ? DTYPES[dtype] : undefined;
  if (facts !== undefined && !output.toLowerCase().endsWith(".gguf")) return facts;
  throw new UnsupportedError(
    "an adapter cannot be merged into a base that stays quantized: most of its change is smaller than a quantization step " +
      "and would be lost. Merge to a folder (float32, float16 or bfloat16) and quantize that.",
  );
}

/** Writes base and adapter as one plain Hugging Face folder: config, tokenizer and safetensors, so that any program for such
 *  models loads it and inference costs nothing extra (LoRA §4.1). A quantized base is written dequantized. The folder is
 *  opened again and its logits compared.
 *  @throws UnsupportedError for a quantized output; InputError if the adapter does not fit or the folder is not empty;
 *  LowrankError ("merge") if the logits differ by more than rounding: nothing is left then; as `openBase` else */
export async function mergeAdapter(options: MergeOptions): Promise<MergeResult> {
  const { file, tolerance } = checkOutput(options);
  const output = resolve(options.output);
  await requireFreeFolder(output);
  const base = await openBase(options.model, options);
  const adapter = await openAdapter(options.adapter, base, options);
  const runtime = openRuntime();
  const merged = mergedWeights(adapter.methods, adapter.theta, base, base.weights, runtime);
  try {
    await writeMerged(options, output, merged, file);
    const maxLogitDifference = await checkWritten({ base, adapter, runtime }, output, tolerance, options);
    const { warnings } = adapter;
    return { output: options.output, changedWeights: merged.paths.length, maxLogitDifference, warnings };
  } finally {
    await merged.close();
    await runtime.close();
  }
}

async function writeMerged(
  options: MergeOptions,
  output: string,
  merged: MergedWeights,
  dtype: FloatDType,
): Promise<void> {
  const { onProgress } = options;
  const changed = new Set(merged.paths);
  const source = await openSource(options.model, options);
  try {
    await writeModelFolder(output, source, {
      dtype,
      override: (path) => (changed.has(path) ? merged.read(path) : null),
      ...(onProgress ? { onProgress: (p) => onProgress({ ...p, what: "writing the merged model" }) } : {}),
    });
  } finally {
    await source.close();
  }
}

interface Original {
  readonly base: BaseModel;
  readonly adapter: OpenedAdapter;
  readonly runtime: Runtime;
}

/** Opens the written folder as anyone would. Removes it if it is not what was to be written. */
async function checkWritten(
  { base, adapter, runtime }: Original,
  output: string,
  tolerance: number,
  options: MergeOptions,
): Promise<number> {
  const cache = cacheFolder(options.cacheFolder);
  await mkdir(cache, { recursive: true });
  const temporary = await mkdtemp(join(cache, "merge-"));
  try {
    const { onProgress, signal } = options;
    const access = {
      cacheFolder: temporary,
      ...(onProgress ? { onProgress } : {}),
      ...(signal ? { signal } : {}),
    };
    const written = await openBase(output, { ...access, offline: true });
    const { maxDifference, maxLogit } = await compareLogits(base, adapter, written, runtime);
    if (maxDifference <= tolerance * Math.max(1, maxLogit)) return maxDifference;
    throw new LowrankError(
      "merge",
      `${options.output}: the merged model's logits differ by ${maxDifference} from those of base and adapter apart, ` +
        `expected at most ${tolerance} of the largest (${maxLogit.toFixed(2)}); the folder was removed`,
    );
  } catch (error) {
    await rm(output, { recursive: true, force: true });
    throw error;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
