import { ShapeError } from "../../errors.ts";
import type { OnProgress } from "../../io/progress.ts";
import { readIfThere, type Storage } from "../../io/storage/storage.ts";
import { requireFinite } from "../../tensor/finite.ts";
import type { FloatTensor } from "../../tensor/tensor.ts";
import { transposed } from "../../tensor/transpose.ts";
import type { ModelSource, TokenizerSource, WeightEntry } from "../model.ts";
import { hfTensorName, isTransposed } from "../names.ts";
import {
  checkNames,
  type FloatDType,
  type SafetensorsInput,
  safetensorsPieces,
} from "../safetensors/encode.ts";
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
  from: Storage | null,
  folder: Storage,
  name: string,
  fallback: unknown | null,
): Promise<void> {
  const bytes = from && (await readIfThere(from, name));
  if (bytes !== null) await folder.write(name, bytes);
  else if (fallback !== null) await writeJson(folder, name, fallback);
}

async function writeJson(folder: Storage, name: string, value: unknown): Promise<void> {
  await folder.write(name, `${JSON.stringify(value, null, 2)}\n`);
}

/** Writes what a model's folder has beside its weights: `config` as config.json, tokenizer, chat template, generation settings. */
export async function writeModelTexts(
  source: ModelSource,
  folder: Storage,
  config: unknown,
  { from, replacesText = false }: Pick<WriteModelFilesOptions, "from" | "replacesText">,
): Promise<void> {
  const { tokenizer } = source;
  await writeJson(folder, "config.json", config);
  await folder.write("tokenizer.json", JSON.stringify(tokenizer.tokenizerJson));
  await writeJson(folder, "tokenizer_config.json", tokenizer.tokenizerConfig);
  if (tokenizer.chatTemplate !== null) await folder.write("chat_template.jinja", tokenizer.chatTemplate);
  // An encoder generates nothing, and names its special tokens in tokenizer_config.json.
  const isEncoder = source.config.encoder !== undefined;
  const written = [generationConfigOf(source), specialTokensOf(tokenizer)];
  if (replacesText) {
    const [generation, specials] = written;
    const known = isEncoder || from === null ? {} : await readOptionalJson(from, "generation_config.json");
    if (!isEncoder) await writeJson(folder, "generation_config.json", { ...known, ...generation });
    await writeJson(folder, "special_tokens_map.json", specials);
    return;
  }
  const fallbacks = isEncoder ? [null, null] : written;
  for (const [i, name] of CARRIED_FILES.entries()) await carry(from, folder, name, fallbacks[i]);
}

/** How to write a model's files. */
export interface WriteModelFilesOptions extends WriteModelFolderOptions {
  /** The source's own files; null where it has none (a GGUF file). */
  readonly from: Storage | null;
}

const WEIGHTS_FILE = "model.safetensors";

/** Writes the files of a Hugging Face model that transformers loads, as `writeModelFolder` lists them. Weights are read, replaced and
 *  written one at a time. @throws as `writeModelFolder`, but for the folder */
export async function writeModelFiles(
  folder: Storage,
  source: ModelSource,
  options: WriteModelFilesOptions,
): Promise<void> {
  const { dtype = "F32", override = () => null, onProgress } = options;
  const head = await untiedHead(source, override);
  const inputs = source.weights.map((weight) => weightInput(source, weight, override));
  if (head)
    inputs.push({ name: hfTensorName(source.config.family, HEAD), shape: head.shape, data: head.data });
  await writeModelTexts(source, folder, configOf(source, dtype, head !== null), options);
  checkNames(folder.pathOf(WEIGHTS_FILE), inputs);
  const how = { metadata: { format: "pt" }, dtype, ...(onProgress ? { onProgress } : {}) };
  await folder.write(WEIGHTS_FILE, async (write) => {
    for await (const piece of safetensorsPieces(inputs, how)) await write(piece);
  });
}
