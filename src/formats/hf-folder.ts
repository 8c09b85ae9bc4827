import { readdir } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { InputError, NotFoundError, type Problem, UnsupportedError } from "../errors.ts";
import type { FloatTensor } from "../tensor/tensor.ts";
import { type Checkpoint, openCheckpoint } from "./checkpoint.ts";
import { readBytes } from "./disk.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { requireFinite } from "./finite.ts";
import { parseHfConfig } from "./hf-config.ts";
import { readHfTokenizer, readOptionalJson } from "./hf-tokenizer.ts";
import { parseJsonObject } from "./json.ts";
import type { ModelConfig, ModelSource, WeightEntry } from "./model-source.ts";
import { hfTensorName, isIgnoredHfTensor, isTransposed, pathOfHfTensor } from "./names.ts";
import { READABLE_DTYPES, type SafetensorsEntry, type SafetensorsFile } from "./safetensors.ts";
import { stopIds } from "./stop-ids.ts";
import { transposed } from "./transpose.ts";
import { expectedWeights, weightProblems } from "./weight-shapes.ts";

/** A tensor of the checkpoint under our path. */
interface Found {
  readonly name: string;
  /** [out, in], whatever the order on disk. */
  readonly shape: readonly number[];
  readonly file: SafetensorsFile;
  readonly entry: SafetensorsEntry;
}

function shapeOf(config: ModelConfig, path: string, entry: SafetensorsEntry): readonly number[] {
  return isTransposed(config.family, path) ? entry.shape.toReversed() : entry.shape;
}

/** Sorts the checkpoint's tensors under our paths. Buffers and the stored head of a tied model are left out. */
function assignPaths(config: ModelConfig, checkpoint: Checkpoint, problems: Problem[]): Map<string, Found> {
  const found = new Map<string, Found>();
  for (const [name, { file, entry }] of checkpoint.tensors) {
    if (isIgnoredHfTensor(config.family, name)) continue;
    const path = pathOfHfTensor(config.family, name);
    if (path === "head.weight" && config.tiedEmbeddings) continue;
    if (path === null) problems.push({ where: name, message: `is not a weight of a ${config.family} model` });
    else if (found.has(path))
      problems.push({ where: name, message: `is the same weight as ${found.get(path)?.name}` });
    else {
      if (!READABLE_DTYPES.includes(entry.dtype))
        problems.push({ where: name, message: `is ${entry.dtype}, expected ${READABLE_DTYPES.join(", ")}` });
      found.set(path, { name, file, entry, shape: shapeOf(config, path, entry) });
    }
  }
  return found;
}

function weightEntry(config: ModelConfig, path: string, found: Found): WeightEntry {
  const { name, file, entry, shape } = found;
  const read = async (): Promise<FloatTensor> => {
    const tensor = requireFinite(file.path, name, await file.read(name));
    return isTransposed(config.family, path) ? transposed(tensor) : tensor;
  };
  return { path, shape, storage: entry.dtype, sizeBytes: entry.sizeBytes, read };
}

/** The weights in the order of the forward pass. @throws InputError listing all that is missing, of the wrong shape, or
 *  unknown. */
function weightsOf(folder: string, config: ModelConfig, checkpoint: Checkpoint): WeightEntry[] {
  const problems: Problem[] = [];
  const found = assignPaths(config, checkpoint, problems);
  const expected = expectedWeights(config);
  problems.push(...weightProblems(expected, found, (path) => hfTensorName(config.family, path)));
  if (problems.length > 0) throw new InputError(`${folder}: the weights do not fit config.json:`, problems);
  return expected.map(({ path }) => weightEntry(config, path, found.get(path) as Found));
}

async function listFolder(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    throw new NotFoundError(`${folder}: no such folder`, { cause: error });
  }
}

function requireConfig(folder: string, names: readonly string[]): void {
  if (names.includes("config.json")) return;
  if (names.includes("adapter_config.json"))
    throw new UnsupportedError(
      `${folder} is an adapter, not a model; give the base model and the adapter separately`,
    );
  throw new NotFoundError(`${folder}: no config.json, expected a Hugging Face model folder or a .gguf file`);
}

async function sourceOf(folder: string, name: string, checkpoint: Checkpoint): Promise<ModelSource> {
  const configPath = join(folder, "config.json");
  const hfConfig = parseJsonObject(await readBytes(configPath), configPath);
  const config = parseHfConfig(hfConfig, configPath);
  const weights = weightsOf(folder, config, checkpoint);
  const tokenizer = await readHfTokenizer(folder);
  const generation = await readOptionalJson(join(folder, "generation_config.json"));
  const files = checkpoint.files.map((file) => ({ ...file, name: basename(file.path) }));
  return {
    name,
    kind: "folder",
    path: folder,
    config,
    hfConfig,
    weights,
    tokenizer,
    eosIds: stopIds([hfConfig.eos_token_id, generation.eos_token_id], tokenizer),
    fingerprint: fingerprintOf(files, [hfConfig]),
    metadata: Object.assign({}, ...checkpoint.files.map((file) => file.metadata)),
    close: checkpoint.close,
  };
}

/** Opens a Hugging Face model folder: config.json, safetensors weights (single or sharded), tokenizer files. Weights are
 *  matched against the configuration before anything is read.
 *  @throws NotFoundError for missing files; UnsupportedError for unknown architectures and pickled weights; FormatError
 *  for broken files; InputError listing every key or tensor at fault. */
export async function openHfFolder(path: string, name: string = path): Promise<ModelSource> {
  const folder = resolve(path);
  const names = await listFolder(folder);
  requireConfig(folder, names);
  const checkpoint = await openCheckpoint(folder, names);
  try {
    return await sourceOf(folder, name, checkpoint);
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}
