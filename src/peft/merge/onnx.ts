import { rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { LowrankError } from "../../errors.ts";
import { requireFreeFolder } from "../../formats/hf/save.ts";
import { knownType, type OnnxVariant } from "../../formats/transformers-js/layout.ts";
import { cacheFolder } from "../../io/cache-folder.ts";
import { storing } from "../../io/disk.ts";
import { makeFolder } from "../../io/folder.ts";
import { removeLeftovers, temporaryPath } from "../../io/temporary.ts";
import type { BaseModel } from "../../models/base.ts";
import { openBase, openSource } from "../../models/base-model.ts";
import {
  checkVariants,
  type OpenInBits,
  type WrittenVariant,
  writeOnnxFolder,
} from "../../models/onnx/write.ts";
import { openRuntime } from "../../runtime/runtime.ts";
import { pathsOf } from "../use/adapter-choice.ts";
import { compareOnnx } from "./check-onnx.ts";
import { type FilesOptions, type WrittenFiles, writeModelFiles } from "./files.ts";

/** What to write for transformers.js. */
export interface OnnxOptions extends Omit<FilesOptions, "format" | "dtype"> {
  readonly variants: readonly OnnxVariant[];
  readonly contextLength?: number;
}

/** A precision that was written, run and compared. */
export interface ExportedVariant extends WrittenVariant {
  /** Largest difference of an output (a logit; of an encoder a hidden state) to the model's in float32, on a short text. */
  readonly maxDifference: number;
}

/** The longest text that graphs are made for where nothing is said. */
const DEFAULT_CONTEXT = 8192;
/** Largest difference of an fp32 graph, as a share of the largest output: the same sums in another order. Seen: 2e-6. */
const TOLERANCE = 1e-5;

/** Writes a model for transformers.js, with adapters merged into it first, and runs what was written.
 *  @throws UnsupportedError for models that transformers.js does not know; InputError; LowrankError ("merge") if a graph does not
 *  compute what the model does: nothing is left then */
export async function writeModelOnnx(
  options: OnnxOptions,
): Promise<WrittenFiles & { readonly variants: readonly ExportedVariant[] }> {
  checkVariants(options.variants);
  const output = resolve(options.output);
  await requireFreeFolder(output);
  const cache = cacheFolder(options.cacheFolder);
  const temporary = temporaryPath(join(cache, "merge"));
  await storing(temporary, () => makeFolder(temporary));
  await removeLeftovers(cache);
  try {
    const { files, open } = await modelToWrite(options, temporary);
    const base = await open(32);
    const { maxPositions } = base.config;
    const contextLength = options.contextLength ?? Math.min(maxPositions, DEFAULT_CONTEXT);
    const written = await writeOnnxFolder(output, open, { ...options, contextLength });
    const variants = await compared(output, base, written, contextLength);
    const shorter =
      contextLength < maxPositions
        ? [`the graphs have ${contextLength} of the model's ${maxPositions} positions`]
        : [];
    const maxLogitDifference = Math.max(files?.maxLogitDifference ?? 0, variants[0]?.maxDifference ?? 0);
    return {
      output: options.output,
      changedWeights: files?.changedWeights ?? 0,
      maxLogitDifference,
      variants,
      warnings: [...(files?.warnings ?? base.warnings), ...shorter],
    };
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** The model whose graphs are written: the base as it is, or with adapters merged into a folder of floats. */
async function modelToWrite(
  options: OnnxOptions,
  temporary: string,
): Promise<{ readonly files: WrittenFiles | null; readonly open: OpenInBits }> {
  const { variants: _v, contextLength: _c, ...own } = options;
  const source = await openSource(options.model, options);
  await source.close();
  knownType(source.hfConfig.model_type); // before an adapter is merged
  if (pathsOf(options).size === 0)
    return { files: null, open: (baseBits) => openBase(options.model, { ...own, baseBits }) };
  const model = join(temporary, "model");
  const files = await writeModelFiles({ ...own, output: model, format: "folder", dtype: "float32" });
  const { onProgress, signal } = options;
  const access = { ...(onProgress ? { onProgress } : {}), ...(signal ? { signal } : {}) };
  const cache = join(temporary, "cache");
  return {
    files,
    open: (baseBits) => openBase(model, { ...access, offline: true, cacheFolder: cache, baseBits }),
  };
}

/** Runs every graph that was written. Removes them where one is not the model's. */
async function compared(
  output: string,
  base: BaseModel,
  written: readonly WrittenVariant[],
  contextLength: number,
): Promise<readonly ExportedVariant[]> {
  const runtime = openRuntime();
  try {
    const variants: ExportedVariant[] = [];
    for (const one of written) {
      const { maxDifference, largest } = await compareOnnx(base, output, one.variant, contextLength, runtime);
      const allowed = one.variant === "fp32" ? TOLERANCE * Math.max(1, largest) : Number.POSITIVE_INFINITY;
      if (!(maxDifference <= allowed))
        throw new LowrankError(
          "merge",
          `${output}: the graph ${one.variant} differs from the model by ${maxDifference}, expected at most ${allowed.toPrecision(2)}; ` +
            "the folder was removed",
        );
      variants.push({ ...one, maxDifference });
    }
    return variants;
  } catch (error) {
    await rm(output, { recursive: true, force: true });
    throw error;
  } finally {
    await runtime.close();
  }
}
