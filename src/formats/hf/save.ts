import { open, readdir, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { FormatError, InputError, ShapeError } from "../../errors.ts";
import { readBytesIfThere, storing, syncFolder, systemErrorCode } from "../../io/disk.ts";
import { exists } from "../../io/download.ts";
import { makeFolder } from "../../io/folder.ts";
import { requireInside } from "../../io/inside.ts";
import type { OnProgress } from "../../io/progress.ts";
import { folderStorage } from "../../io/storage/disk-storage.ts";
import { removeAbandoned, removeLeftovers, temporaryPath } from "../../io/temporary.ts";
import { requireFinite } from "../../tensor/finite.ts";
import type { FloatTensor } from "../../tensor/tensor.ts";
import { transposed } from "../../tensor/transpose.ts";
import type { ModelSource, TokenizerSource, WeightEntry } from "../model.ts";
import { hfTensorName, isTransposed } from "../names.ts";
import type { FloatDType, SafetensorsInput } from "../safetensors/encode.ts";
import { writeSafetensors } from "../safetensors/write.ts";
import { readOptionalJson } from "./tokenizer.ts";

export interface WriteModelFolderOptions {
  /** The weight to write under a path instead of the source's ([out, in]); null keeps the source's. Also asked for
   *  `head.weight` of a model whose head is tied to its embedding: a tensor unties it. */
  readonly override?: (path: string) => FloatTensor | null | Promise<FloatTensor | null>;
  /** Default "F32". */
  readonly dtype?: FloatDType;
  /** The source's tokenizer is not its folder's own (an adapter brought another): what the folder says of special tokens does not
   *  count. Default false. */
  readonly replacesText?: boolean;
  readonly onProgress?: OnProgress;
}

const HEAD = "head.weight";

/** transformers' names of the dtypes. */
const TORCH_DTYPES: Readonly<Record<FloatDType, string>> = {
  F32: "float32",
  F16: "float16",
  BF16: "bfloat16",
};

/** Files of a model folder whose content goes into what is written. */
const USED_FILES: readonly string[] = [
  ...["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"],
  ...["special_tokens_map.json", "generation_config.json"],
];

/** Checks that what a written model takes over from a folder lies in it: a foreign folder may hold links to anything.
 *  @throws UnsupportedError naming a file that leads out of it */
export async function requireOwnFiles({ kind, path }: ModelSource): Promise<void> {
  if (kind !== "folder") return;
  for (const name of USED_FILES) if (await exists(join(path, name))) await requireInside(path, name);
}

/** Files of a model folder that are carried over as they are. */
const CARRIED_FILES: readonly string[] = ["generation_config.json", "special_tokens_map.json"];

type Override = NonNullable<WriteModelFolderOptions["override"]>;

function toHfOrder(family: string, path: string, tensor: FloatTensor): FloatTensor {
  return isTransposed(family, path) ? transposed(tensor) : tensor;
}

function weightInput(
  source: ModelSource,
  { path, shape, read }: WeightEntry,
  override: Override,
): SafetensorsInput {
  const { family } = source.config;
  const load = async (): Promise<Float32Array> => {
    const replaced = await override(path);
    if (replaced && String(replaced.shape) !== String(shape))
      throw new ShapeError(`${path}: expected shape [${shape}], got [${replaced.shape}]`);
    const tensor = replaced ? requireFinite("the weight to write", path, replaced) : await read();
    return toHfOrder(family, path, tensor).data;
  };
  return {
    name: hfTensorName(family, path),
    shape: isTransposed(family, path) ? shape.toReversed() : shape,
    data: load,
  };
}

/** The head of a tied model, where `override` unties it. */
async function untiedHead(source: ModelSource, override: Override): Promise<FloatTensor | null> {
  if (!source.config.tiedEmbeddings) return null;
  const head = await override(HEAD);
  return head ? requireFinite("the weight to write", HEAD, head) : null;
}

function configOf(source: ModelSource, dtype: FloatDType, untied: boolean): Record<string, unknown> {
  const { torch_dtype: _old, dtype: _new, ...config } = source.hfConfig;
  // Both transformers 4 and 5 read torch_dtype.
  return { ...config, torch_dtype: TORCH_DTYPES[dtype], ...(untied ? { tie_word_embeddings: false } : {}) };
}

function specialTokensOf(tokenizer: TokenizerSource): Record<string, string> {
  const { bosToken, eosToken, padToken, unkToken } = tokenizer;
  const all = { bos_token: bosToken, eos_token: eosToken, pad_token: padToken, unk_token: unkToken };
  return Object.fromEntries(Object.entries(all).filter((pair): pair is [string, string] => pair[1] !== null));
}

function generationConfigOf({ hfConfig, eosIds }: ModelSource): Record<string, unknown> {
  const { bos_token_id = null, pad_token_id = null } = hfConfig;
  return { bos_token_id, eos_token_id: eosIds.length === 1 ? eosIds[0] : eosIds, pad_token_id };
}

/** Copies a file of the source; what the source does not have (a GGUF has no files) is written from `fallback`. */
async function carry(
  source: ModelSource,
  folder: string,
  name: string,
  fallback: unknown | null,
): Promise<void> {
  const bytes = await readBytesIfThere(join(source.path, name));
  if (bytes !== null) await writeFile(join(folder, name), bytes);
  else if (fallback !== null) await writeJson(folder, name, fallback);
}

async function writeJson(folder: string, name: string, value: unknown): Promise<void> {
  await writeFile(join(folder, name), `${JSON.stringify(value, null, 2)}\n`);
}

/** Writes what a model's folder has beside its weights: `config` as config.json, tokenizer, chat template, generation settings.
 *  `replacesText`: as in `WriteModelFolderOptions`. */
export async function writeModelTexts(
  source: ModelSource,
  folder: string,
  config: unknown,
  replacesText = false,
): Promise<void> {
  const { tokenizer } = source;
  await writeJson(folder, "config.json", config);
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(tokenizer.tokenizerJson));
  await writeJson(folder, "tokenizer_config.json", tokenizer.tokenizerConfig);
  if (tokenizer.chatTemplate !== null)
    await writeFile(join(folder, "chat_template.jinja"), tokenizer.chatTemplate);
  // An encoder generates nothing, and names its special tokens in tokenizer_config.json.
  const isEncoder = source.config.encoder !== undefined;
  const written = [generationConfigOf(source), specialTokensOf(tokenizer)];
  if (replacesText) {
    const [generation, specials] = written;
    const known = isEncoder
      ? {}
      : await readOptionalJson(folderStorage(source.path), "generation_config.json");
    if (!isEncoder) await writeJson(folder, "generation_config.json", { ...known, ...generation });
    await writeJson(folder, "special_tokens_map.json", specials);
    return;
  }
  const fallbacks = isEncoder ? [null, null] : written;
  for (const [i, name] of CARRIED_FILES.entries()) await carry(source, folder, name, fallbacks[i]);
}

/** The target must not hold anything: a model or an adapter is never written over another.
 *  @throws InputError if it does; FormatError if it is no folder. */
export async function requireFreeFolder(folder: string): Promise<void> {
  await removeLeftovers(folder);
  const names = await readdir(folder).catch((error) => {
    if (systemErrorCode(error) === "ENOENT") return [];
    throw new FormatError(folder, `cannot be written to (${systemErrorCode(error)})`, { cause: error });
  });
  if (names.length > 0)
    throw new InputError("The output cannot be written:", [
      { where: folder, message: `holds ${names.length} entries already, expected a new or empty folder` },
    ]);
}

/** Makes the finished folder appear under its name at once. */
async function publish(temporary: string, folder: string): Promise<void> {
  for (const entry of await readdir(temporary, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const handle = await open(join(entry.parentPath, entry.name), "r+");
    await handle.sync();
    await handle.close();
  }
  await rmdir(folder).catch(() => undefined); // an empty folder of that name; Windows cannot rename onto it
  await rename(temporary, folder);
  await syncFolder(dirname(folder));
}

/** Writes a model as a Hugging Face folder that transformers loads: config.json, model.safetensors, tokenizer.json,
 *  tokenizer_config.json, chat_template.jinja, special_tokens_map.json, generation_config.json. Weights are read, replaced
 *  and written one at a time. The folder appears complete or not at all.
 *  @throws InputError if the folder is not empty; ShapeError if a replaced weight has another shape; FormatError if a
 *  weight is not finite; LowrankError ("storage") if the disk does not take it. */
export async function writeModelFolder(
  dir: string,
  source: ModelSource,
  options: WriteModelFolderOptions = {},
): Promise<void> {
  const { dtype = "F32", override = () => null, replacesText = false, onProgress } = options;
  await requireOwnFiles(source);
  await writeFolder(dir, (folder) =>
    writeFiles(folder, source, {
      ...{ dtype, override, replacesText },
      ...(onProgress ? { onProgress } : {}),
    }),
  );
}

/** Writes a folder that appears complete or not at all: `write` fills one of another name.
 *  @throws InputError if there is something in it; what `write` throws; LowrankError ("storage") */
export async function writeFolder(dir: string, write: (folder: string) => Promise<void>): Promise<void> {
  const folder = resolve(dir);
  await requireFreeFolder(folder);
  const temporary = temporaryPath(folder);
  await removeAbandoned(folder);
  await storing(folder, async () => {
    try {
      await makeFolder(temporary);
      await write(temporary);
      await publish(temporary, folder);
    } catch (error) {
      await rm(temporary, { recursive: true, force: true });
      throw error;
    }
  });
}

async function writeFiles(
  folder: string,
  source: ModelSource,
  {
    dtype,
    override,
    replacesText = false,
    ...rest
  }: WriteModelFolderOptions & { dtype: FloatDType; override: Override },
): Promise<void> {
  const head = await untiedHead(source, override);
  const inputs = source.weights.map((weight) => weightInput(source, weight, override));
  if (head)
    inputs.push({ name: hfTensorName(source.config.family, HEAD), shape: head.shape, data: head.data });
  await writeModelTexts(source, folder, configOf(source, dtype, head !== null), replacesText);
  const path = join(folder, "model.safetensors");
  await writeSafetensors(path, inputs, { metadata: { format: "pt" }, dtype, ...rest });
}
