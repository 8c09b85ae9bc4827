import { UnsupportedError } from "../errors.ts";
import { writeModelFiles } from "../formats/hf/save-files.ts";
import type { ModelSource } from "../formats/model.ts";
import type { FloatDType } from "../formats/safetensors/encode.ts";
import type { OnProgress } from "../io/progress.ts";
import type { Storage } from "../io/storage/storage.ts";
import type { BaseModel } from "../models/base.ts";
import { mergedWeights } from "../peft/merge/weights.ts";
import type { Runtime } from "../runtime/create-runtime.ts";
import { openStoredAdapter } from "./adapter.ts";

/** How a merged model is written. */
export interface MergeIntoOptions {
  /** Default "F32". */
  readonly dtype?: FloatDType | undefined;
  readonly onProgress?: OnProgress | undefined;
}

/** A model that is open, and its files. */
export interface MergeParts {
  readonly base: BaseModel;
  readonly runtime: Runtime;
  readonly files: Storage;
  /** Opens its source again, which is closed once the weights are converted. */
  open(): Promise<ModelSource>;
}

/** Writes a model with an adapter folded into its weights. @throws as `PageModel.merge` */
export async function mergeInto(
  { base, runtime, files, open }: MergeParts,
  adapter: Storage,
  output: Storage,
  { dtype = "F32", onProgress }: MergeIntoOptions = {},
): Promise<void> {
  if (base.bits !== 32)
    throw new UnsupportedError(
      `a base in ${base.bits} bits has lost what merging adds to: open the model without baseBits`,
    );
  if (base.config.encoder) throw new UnsupportedError("encoders are merged in Node: lowrank merge");
  const { methods, theta } = await openStoredAdapter(adapter, base);
  const merged = mergedWeights(methods, theta, base, base.weights, runtime);
  const changed = new Set(merged.paths);
  const source = await open();
  try {
    await writeModelFiles(output, source, {
      ...{ dtype, from: source.kind === "folder" ? files : null },
      override: (path) => (changed.has(path) ? merged.read(path) : null),
      ...(onProgress ? { onProgress } : {}),
    });
  } finally {
    await merged.close();
    await source.close();
  }
}
