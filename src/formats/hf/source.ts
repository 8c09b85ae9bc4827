import { InputError, NotFoundError, type Problem, UnsupportedError } from "../../errors.ts";
import { fingerprintOf } from "../../io/fingerprint-of.ts";
import { parseJsonObject } from "../../io/json.ts";
import type { Storage } from "../../io/storage/storage.ts";
import { requireFinite } from "../../tensor/finite.ts";
import type { FloatTensor } from "../../tensor/tensor.ts";
import { transposed } from "../../tensor/transpose.ts";
import type { ModelConfig, ModelSource, WeightEntry } from "../model.ts";
import { hfTensorName, isIgnoredHfTensor, isTransposed, pathOfHfTensor } from "../names.ts";
import { READABLE_DTYPES, type SafetensorsEntry, type SafetensorsFile } from "../safetensors/file.ts";
import { parseHfConfig } from "./config.ts";
import { type Checkpoint, openCheckpoint } from "./shards.ts";
import { stopIds } from "./stop-ids.ts";
import { readHfTokenizer, readOptionalJson } from "./tokenizer.ts";

interface StoredTensor {
  readonly file: SafetensorsFile;
  readonly entry: SafetensorsEntry;
}

function weightEntry(config: ModelConfig, path: string, { file, entry }: StoredTensor): WeightEntry {
  const { name, dtype, sizeBytes } = entry;
  const isConv1d = isTransposed(config.family, path);
  const read = async (): Promise<FloatTensor> => {
    const tensor = requireFinite(file.path, name, await file.read(name));
    return isConv1d ? transposed(tensor) : tensor;
  };
  const shape = isConv1d ? entry.shape.toReversed() : entry.shape;
  return { path, name, shape, storage: dtype, sizeBytes, read };
}

/** The tensors under our paths. Buffers and the stored head of a tied model are left out.
 *  @throws InputError listing the tensors that have no path, one that another has, or a dtype that is not read. */
function weightsOf(folder: string, config: ModelConfig, checkpoint: Checkpoint): WeightEntry[] {
  const problems: Problem[] = [];
  const found = new Map<string, WeightEntry>();
  for (const [name, stored] of checkpoint.tensors) {
    if (isIgnoredHfTensor(config.family, name)) continue;
    const path = pathOfHfTensor(config.family, name);
    if (path === "head.weight" && config.tiedEmbeddings) continue;
    const problem = (message: string): unknown => problems.push({ where: name, message });
    const { dtype } = stored.entry;
    const twin = found.get(path ?? "")?.name;
    if (!READABLE_DTYPES.includes(dtype)) problem(`is ${dtype}, expected ${READABLE_DTYPES.join(", ")}`);
    if (path === null) problem(`is not a weight of a ${config.family} model`);
    else if (twin !== undefined) problem(`is the same weight as ${twin}`);
    else found.set(path, weightEntry(config, path, stored));
  }
  if (problems.length > 0) throw new InputError(`${folder}: the weights do not fit config.json:`, problems);
  return [...found.values()];
}

function requireConfig(folder: string, names: readonly string[]): void {
  if (names.includes("config.json")) return;
  if (names.includes("adapter_config.json"))
    throw new UnsupportedError(
      `${folder} is an adapter, not a model; give the base model and the adapter separately`,
    );
  throw new NotFoundError(`${folder}: no config.json, expected a Hugging Face model folder or a .gguf file`);
}

async function sourceOf(folder: Storage, name: string, checkpoint: Checkpoint): Promise<ModelSource> {
  const configPath = folder.pathOf("config.json");
  const hfConfig = parseJsonObject(await folder.read("config.json"), configPath);
  const config = parseHfConfig(hfConfig, configPath);
  const weights = weightsOf(folder.path, config, checkpoint);
  const tokenizer = await readHfTokenizer(folder);
  const generation = await readOptionalJson(folder, "generation_config.json");
  return {
    name,
    kind: "folder",
    path: folder.path,
    config,
    hfConfig,
    weights,
    nameOf: (path) => hfTensorName(config.family, path),
    tokenizer,
    eosIds: stopIds([hfConfig.eos_token_id, generation.eos_token_id], tokenizer),
    fingerprint: (hashOf) => fingerprintOf(checkpoint.files, [hfConfig], hashOf),
    metadata: Object.assign({}, ...checkpoint.files.map((file) => file.metadata)),
    close: checkpoint.close,
  };
}

/** Opens the files of a Hugging Face model: config.json, safetensors weights (single or sharded), tokenizer files. Every tensor
 *  must be a weight of the model family; nothing is read before.
 *  @throws NotFoundError for missing files; UnsupportedError for unknown architectures and pickled weights; FormatError
 *  for broken files; InputError listing every key or tensor at fault. */
export async function openHfSource(folder: Storage, name: string = folder.path): Promise<ModelSource> {
  const names = await folder.list();
  requireConfig(folder.path, names);
  const checkpoint = await openCheckpoint(folder, names);
  try {
    return await sourceOf(folder, name, checkpoint);
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}
