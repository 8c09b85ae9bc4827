import { rm } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { FormatError, LowrankError, UnsupportedError } from "../../errors.ts";
import { architectureOf } from "../../formats/architectures/table.ts";
import type { GgufFileType } from "../../formats/gguf/mixes.ts";
import { writeModelfile } from "../../formats/gguf/modelfile.ts";
import { requireNewGguf, type WriteModelGgufOptions, writeModelGguf } from "../../formats/gguf/save.ts";
import { withAllBiases } from "../../formats/hf/added-biases.ts";
import { requireFreeFolder, writeModelFolder } from "../../formats/hf/save.ts";
import type { ModelConfig, ModelSource, WeightEntry } from "../../formats/model.ts";
import { requireOwnText } from "../../formats/peft/text.ts";
import type { FloatDType } from "../../formats/safetensors/encode.ts";
import { cacheFolder } from "../../io/cache-folder.ts";
import { storing } from "../../io/disk.ts";
import { makeFolder } from "../../io/folder.ts";
import { removeLeftovers, temporaryPath } from "../../io/temporary.ts";
import type { BaseModel } from "../../models/base.ts";
import { type OpenBaseOptions, openBase, openSource } from "../../models/base-model.ts";
import { familyOf } from "../../models/families.ts";
import { moduleWeights, type WeightSpec } from "../../models/family.ts";
import { openRuntime } from "../../runtime/runtime.ts";
import { sizeOf } from "../../tensor/tensor.ts";
import { type MergedCard, writeMergedCard } from "../files/card.ts";
import type { Adaptation } from "../use/active.ts";
import { type AdaptedBase, adaptBase } from "../use/adapted-base.ts";
import { type AdapterChoice, pathsOf } from "../use/adapter-choice.ts";
import { type Unmerged, verifyMerged } from "./verify.ts";
import { type MergedWeights, mergedWeights } from "./weights.ts";

/** Type of the written weights; the quantized ones in a GGUF file only. */
export type MergeDType = "float32" | "float16" | "bfloat16" | "q8_0" | "q4_0" | "q4_k_m" | "q5_k_m" | "q6_k";

interface DTypeFacts {
  /** null: safetensors has no such type. */
  readonly safetensors: FloatDType | null;
  readonly gguf: GgufFileType;
}

const DTYPES: Readonly<Record<MergeDType, DTypeFacts>> = {
  float32: { safetensors: "F32", gguf: "F32" },
  float16: { safetensors: "F16", gguf: "F16" },
  bfloat16: { safetensors: "BF16", gguf: "BF16" },
  q8_0: { safetensors: null, gguf: "Q8_0" },
  q4_0: { safetensors: null, gguf: "Q4_0" },
  q4_k_m: { safetensors: null, gguf: "Q4_K_M" },
  q5_k_m: { safetensors: null, gguf: "Q5_K_M" },
  q6_k: { safetensors: null, gguf: "Q6_K" },
};

/** How a format is written, and what stands in the way of writing it. */
interface FormatFacts {
  readonly check: (output: string) => Promise<void>;
  readonly write: (output: string, source: ModelSource, facts: DTypeFacts, how: WriteHow) => Promise<void>;
  /** Writes the card, where the format has a place for one. */
  readonly describe: (output: string, card: MergedCard) => Promise<void>;
  /** Writes what programs of the format want beside it. Returns what should be said. */
  readonly accompany: (output: string, base: BaseModel) => Promise<readonly string[]>;
}

type WriteHow = Pick<WriteModelGgufOptions, "override" | "onProgress" | "signal"> & {
  /** As in `WriteModelFolderOptions`. */
  readonly replacesText: boolean;
};

const FORMATS: Readonly<Record<FileFormat, FormatFacts>> = {
  folder: {
    check: requireFreeFolder,
    write: (output, source, { safetensors }, how) =>
      writeModelFolder(output, source, { ...how, dtype: safetensors as FloatDType }),
    describe: writeMergedCard,
    accompany: async () => [],
  },
  gguf: {
    check: requireNewGguf,
    write: (output, source, { gguf }, how) => writeModelGguf(output, source, { ...how, type: gguf }),
    describe: async () => {},
    accompany: (output, { source }) => writeModelfile(output, source, { from: `./${basename(output)}` }),
  },
};

/** Formats that are weights as they are, and can be opened again. */
export type FileFormat = "folder" | "gguf";

/** A model to write: a base, or with adapters. */
export interface FilesOptions extends OpenBaseOptions, AdapterChoice {
  /** Alias, folder, .gguf file or Hub id. */
  readonly model: string;
  /** New folder, which must not hold anything yet; a new file that ends in .gguf for that format. */
  readonly output: string;
  /** Default "folder". */
  readonly format?: FileFormat;
  /** Default float32. */
  readonly dtype?: MergeDType;
}

/** What was written. */
export interface WrittenFiles {
  readonly output: string;
  /** Weights that the adapter changed. */
  readonly changedWeights: number;
  /** Largest difference of a logit between the written model and base and adapter apart, on a short text: for other types
   *  than float32 what their rounding costs. */
  readonly maxLogitDifference: number;
  readonly warnings: readonly string[];
}

/** A folder of floats, or what is asked for as GGUF: an explicit export of merged weights. What looks like a base that is to
 *  stay quantized is neither. */
function checkOutput({
  output,
  format = "folder",
  dtype = "float32",
}: FilesOptions): [FormatFacts, DTypeFacts] {
  const facts = Object.hasOwn(DTYPES, dtype) ? DTYPES[dtype] : undefined;
  const isFolder = format === "folder";
  if (facts !== undefined && (!isFolder || (facts.safetensors !== null && !/\.gguf$/i.test(output))))
    return [FORMATS[format], facts];
  if (!isFolder)
    throw new UnsupportedError(`unknown dtype "${dtype}"; known for GGUF: ${Object.keys(DTYPES).join(", ")}`);
  throw new UnsupportedError(
    "an adapter cannot be merged into a base that stays quantized: most of its change is smaller than a quantization step " +
      "and would be lost. Merge to a folder (float32, float16 or bfloat16) and quantize that, or export the merged weights " +
      'as a GGUF file with format "gguf" (' +
      `${Object.keys(DTYPES).join(", ")}).`,
  );
}

/** Writes a model, or base and adapter (of several their weighted sum) as one, with plain weights: a Hugging Face folder (config,
 *  tokenizer and safetensors) that any program for such models loads, or a GGUF file. A quantized base is dequantized first. What was
 *  written is opened again and compared (`verifyMerged`).
 *  @throws UnsupportedError for a quantized folder, and for models that GGUF has no place for; InputError if the adapter does
 *  not fit or the output is there already; LowrankError ("merge") if weights or logits differ by more than rounding: nothing is
 *  left then; as `openBase` else */
export async function writeModelFiles(options: FilesOptions): Promise<WrittenFiles> {
  const [format, facts] = checkOutput(options);
  const output = resolve(options.output);
  await format.check(output);
  const bare = await openBase(options.model, options);
  const { base, opened, factors, adaptation: adapter } = await adapted(bare, options);
  const runtime = openRuntime();
  const theta = adapter?.theta ?? new Float32Array(0);
  const merged = mergedWeights(adapter?.methods ?? [], theta, base, base.weights, runtime);
  try {
    for (const { path, text } of opened.values()) if (text !== null) await requireOwnText(path);
    const replacesText = base.source.tokenizer !== bare.source.tokenizer;
    await writeMerged(options, { base, merged, isMerged: adapter !== null }, replacesText, (source, how) =>
      format.write(output, source, facts, how),
    );
    const original = { base, adapter, merged, runtime };
    const maxLogitDifference = await checkWritten(original, output, facts, options);
    if (adapter !== null)
      await format.describe(output, cardOf(options, base, adapter, [...factors.keys()], merged));
    const warnings = [
      ...(await format.accompany(output, base)),
      ...base.warnings,
      ...[...opened.values()].flatMap((a) => a.warnings),
      ...lostArguments(base),
    ];
    return { output: options.output, changedWeights: merged.paths.length, maxLogitDifference, warnings };
  } finally {
    await merged.close();
    await runtime.close();
  }
}

/** The base with the adapters that are chosen; alone, where none is, whatever head it lacks. */
async function adapted(bare: BaseModel, options: FilesOptions): Promise<AdaptedBase> {
  if (pathsOf(options).size > 0) return adaptBase(bare, options, options);
  return { base: bare, opened: new Map(), factors: new Map(), adaptation: null };
}

function cardOf(
  options: FilesOptions,
  base: BaseModel,
  adapter: Adaptation,
  names: readonly string[],
  merged: MergedWeights,
): MergedCard {
  const paths = pathsOf(options);
  return {
    model: options.model,
    adapters: names.map((name) => paths.get(name) as string),
    methods: adapter.methods.map((m) => m.name),
    changedWeights: merged.paths.length,
    dtype: options.dtype ?? "float32",
    classifier: base.config.encoder?.classifier ?? null,
  };
}

/** A model has no place for the variables of its chat template. */
function lostArguments({ templateVariables: { args } }: BaseModel): string[] {
  if (Object.keys(args).length === 0) return [];
  const option = `--template-args '${JSON.stringify(args)}'`;
  return [`the merged model has no place for the variables of its chat template: give ${option} with it`];
}

/** The source of an encoder as it is to be written: with its labels, and with the weights of a new head, which are all merged
 *  ones. Decoders stay as they are. */
function sourceWithHead(source: ModelSource, { config, modules, newWeights }: BaseModel): ModelSource {
  const { withClassifier } = architectureOf(config.family);
  if (!config.encoder || !withClassifier) return source;
  const fresh = new Set(newWeights);
  const added = modules.flatMap(moduleWeights).filter(({ path }) => fresh.has(path));
  const entry = ({ path, shape }: WeightSpec): WeightEntry => ({
    path,
    name: source.nameOf(path),
    shape,
    storage: "F32",
    sizeBytes: 4 * sizeOf(shape),
    read: () => Promise.reject(new FormatError(source.path, `no weight ${path}`)),
  });
  return {
    ...source,
    config,
    hfConfig: withClassifier(source.hfConfig, config.encoder.classifier),
    weights: [...source.weights.filter(({ path }) => !fresh.has(path)), ...added.map(entry)],
  };
}

interface ToWrite {
  readonly base: BaseModel;
  readonly merged: MergedWeights;
  /** There is an adapter. */
  readonly isMerged: boolean;
}

async function writeMerged(
  options: FilesOptions,
  { base, merged, isMerged }: ToWrite,
  replacesText: boolean,
  write: (source: ModelSource, how: WriteHow) => Promise<void>,
): Promise<void> {
  const { onProgress, signal } = options;
  const changed = new Set(merged.paths);
  const bare = await openSource(options.model, options);
  const opened = isMerged ? sourceWithHead(bare, base) : bare;
  const there = new Set(opened.weights.map((w) => w.path));
  const addsBiases = merged.paths.some((path) => path.endsWith(".bias") && !there.has(path));
  const { tokenizer, eosIds } = base.source;
  const source = { ...(addsBiases ? withAllBiases(opened, weightsOf) : opened), tokenizer, eosIds };
  try {
    await write(source, {
      replacesText,
      override: (path) => (changed.has(path) ? merged.read(path) : null),
      ...(onProgress
        ? { onProgress: (p) => onProgress({ ...p, what: `writing the ${isMerged ? "merged " : ""}model` }) }
        : {}),
      ...(signal ? { signal } : {}),
    });
  } finally {
    await source.close();
  }
}

function weightsOf(config: ModelConfig): readonly WeightSpec[] {
  return familyOf(config.family).modules(config).flatMap(moduleWeights);
}

/** Opens what was written as anyone would. Removes it if it is not what was to be written. */
async function checkWritten(
  original: Unmerged,
  output: string,
  { gguf }: DTypeFacts,
  options: FilesOptions,
): Promise<number> {
  const cache = cacheFolder(options.cacheFolder);
  const temporary = temporaryPath(join(cache, "merge"));
  await storing(temporary, () => makeFolder(temporary));
  await removeLeftovers(cache);
  try {
    const { onProgress, signal } = options;
    const access = {
      cacheFolder: temporary,
      ...(onProgress ? { onProgress } : {}),
      ...(signal ? { signal } : {}),
    };
    return (await verifyMerged(original, output, gguf === "F32", access)).maxDifference;
  } catch (error) {
    await rm(output, { recursive: true, force: true });
    if (!(error instanceof LowrankError) || error.code !== "merge") throw error;
    const what = options.format === "gguf" ? "file" : "folder";
    const message = `${options.output}: ${error.message}; the ${what} was removed`;
    throw new LowrankError("merge", message, { cause: error });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
