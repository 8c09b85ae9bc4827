import { FormatError, InputError, NotFoundError, type Problem, UnsupportedError } from "../../errors.ts";
import { isObject, kindOf, parseJsonObject } from "../../io/json.ts";
import { INDEX_FILE_BYTES } from "../../io/limits.ts";
import { readIfThere, type Storage } from "../../io/storage/storage.ts";
import { type SafetensorsEntry, type SafetensorsFile, safetensorsOf } from "../safetensors/file.ts";

const SINGLE_FILE = "model.safetensors";
/** Lists the shards of a model in several files. */
export const INDEX_FILE = "model.safetensors.index.json";

/** The weight files of a folder, opened. */
export interface Checkpoint {
  readonly files: readonly SafetensorsFile[];
  /** Tensor name → where it is. */
  readonly tensors: ReadonlyMap<string, { readonly file: SafetensorsFile; readonly entry: SafetensorsEntry }>;
  close(): Promise<void>;
}

function checkpointOf(files: readonly SafetensorsFile[], tensors: Checkpoint["tensors"]): Checkpoint {
  return {
    files,
    tensors,
    close: async () => {
      for (const file of files) await file.close();
    },
  };
}

function tensorsOf(file: SafetensorsFile): Checkpoint["tensors"] {
  return new Map([...file.entries.values()].map((entry) => [entry.name, { file, entry }]));
}

/** A shard lies in the folder itself: anything that could lead elsewhere is refused. */
function isPlainFileName(name: unknown): name is string {
  return (
    typeof name === "string" &&
    name.endsWith(".safetensors") &&
    !/[/\\:\0]/.test(name) &&
    !name.startsWith("..")
  );
}

function readWeightMap(bytes: Uint8Array, path: string): ReadonlyMap<string, string> {
  const map = parseJsonObject(bytes, path).weight_map;
  if (!isObject(map)) throw new FormatError(path, `weight_map: expected an object, got ${kindOf(map)}`);
  const problems: Problem[] = Object.entries(map)
    .filter(([, file]) => !isPlainFileName(file))
    .map(([tensor, file]) => ({
      where: tensor,
      message: `is said to be in ${kindOf(file)}, expected the name of a .safetensors file in the same folder`,
    }));
  if (problems.length > 0) throw new InputError(`${path} names files that are not opened:`, problems);
  return new Map(Object.entries(map) as [string, string][]);
}

/** Names of the shards that a folder's index lists. @throws NotFoundError, FormatError, InputError as it is read */
export async function shardsOf(folder: Storage): Promise<string[]> {
  const index = await folder.read(INDEX_FILE, INDEX_FILE_BYTES);
  return [...new Set(readWeightMap(index, folder.pathOf(INDEX_FILE)).values())];
}

/** Opens what can be opened; the rest is reported. */
async function openShards(folder: Storage, names: readonly string[], problems: Problem[]) {
  const shards = new Map<string, SafetensorsFile>();
  for (const name of names)
    try {
      shards.set(name, await safetensorsOf(await folder.open(name)));
    } catch (error) {
      const missing = error instanceof NotFoundError;
      problems.push({ where: name, message: missing ? "shard is missing" : (error as Error).message });
    }
  return shards;
}

async function openSharded(folder: Storage, index: Uint8Array): Promise<Checkpoint> {
  const path = folder.pathOf(INDEX_FILE);
  const map = readWeightMap(index, path);
  const problems: Problem[] = [];
  const shards = await openShards(folder, [...new Set(map.values())].sort(), problems);
  const tensors = new Map<string, { file: SafetensorsFile; entry: SafetensorsEntry }>();
  for (const [tensor, shardName] of map) {
    const file = shards.get(shardName);
    const entry = file?.entries.get(tensor);
    if (file && entry) tensors.set(tensor, { file, entry });
    else if (file)
      problems.push({ where: tensor, message: `is not in ${shardName}, where the index says it is` });
  }
  const checkpoint = checkpointOf([...shards.values()], tensors);
  if (problems.length === 0) return checkpoint;
  await checkpoint.close();
  throw new InputError(`${path} does not fit its shards:`, problems);
}

/** Opens the weights of a Hugging Face folder: model.safetensors, or the shards of model.safetensors.index.json.
 *  Pickled weights (.bin, .pt) can run code and are never opened. `names`: what the folder holds.
 *  @throws NotFoundError without weights; UnsupportedError with pickled ones only; InputError listing what is missing or
 *  out of place. */
export async function openCheckpoint(folder: Storage, names: readonly string[]): Promise<Checkpoint> {
  if (names.includes(SINGLE_FILE)) {
    const file = await safetensorsOf(await folder.open(SINGLE_FILE));
    return checkpointOf([file], tensorsOf(file));
  }
  const index = await readIfThere(folder, INDEX_FILE, INDEX_FILE_BYTES);
  if (index) return openSharded(folder, index);
  const pickled = names.filter((name) => /\.(bin|pt|pth|ckpt|pkl)$/.test(name));
  if (pickled.length > 0)
    throw new UnsupportedError(
      `${folder.path}: ${pickled[0]} is a pickle, which can run code when opened and is not read; convert the model to safetensors (transformers: save_pretrained)`,
    );
  throw new NotFoundError(`${folder.path}: no weights, expected ${SINGLE_FILE} or ${INDEX_FILE}`);
}
