import { readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { NotFoundError } from "../errors.ts";
import type { FloatTensor } from "../tensor/tensor.ts";
import { storing, writeFileAtomic } from "./cache.ts";
import { readBytesIfThere, temporaryPath } from "./disk.ts";
import { exists, hashFile } from "./download.ts";
import { parseJsonObject } from "./json.ts";
import { type LoraConfig, peftConfigText, readPeftConfig } from "./peft-config.ts";
import { checkTensors, type ModuleTensors, placeTensors, tensorKeys } from "./peft-keys.ts";
import { savedConfig } from "./peft-save.ts";
import { openSafetensors } from "./safetensors.ts";
import { writeSafetensors } from "./safetensors-write.ts";

export const ADAPTER_CONFIG = "adapter_config.json";
export const ADAPTER_WEIGHTS = "adapter_model.safetensors";

/** What an adapter is, apart from where it lies. */
export interface AdapterContent {
  readonly config: LoraConfig;
  /** By the Hugging Face name of the module, e.g. `model.layers.0.self_attn.q_proj`. */
  readonly tensors: ReadonlyMap<string, ModuleTensors>;
}

/** A PEFT adapter, read. */
export interface AdapterFile extends AdapterContent {
  /** Folder that holds the two files. */
  readonly path: string;
  /** adapter_config.json as it stands. */
  readonly raw: Readonly<Record<string, unknown>>;
  /** What was ignored, in words. */
  readonly warnings: readonly string[];
  /** Size of adapter_model.safetensors. */
  readonly sizeBytes: number;
  /** Of adapter_model.safetensors. */
  readonly sha256: string;
}

/** Which adapter of a folder. */
export interface AdapterOptions {
  /** Subfolder of a named adapter, as PEFT saves every adapter but "default". */
  readonly name?: string | undefined;
}

/** Reads a LoRA adapter in PEFT's format: a folder with adapter_config.json and adapter_model.safetensors, or the
 *  subfolder of a named one. Weights are float32 [rank, in] and [out, rank].
 *  @throws NotFoundError for a missing file (pickled .bin weights are never opened); InputError with everything wrong
 *  in the configuration, or in the tensors (A without B, ranks, NaN or infinity, unmatched keys); UnsupportedError. */
export async function readAdapter(dir: string, options: AdapterOptions = {}): Promise<AdapterFile> {
  const path = options.name === undefined ? dir : join(dir, adapterName(options.name));
  const configPath = join(path, ADAPTER_CONFIG);
  const bytes = await readBytesIfThere(configPath);
  if (bytes === null) throw await noAdapter(path);
  const { config, raw, warnings } = readPeftConfig(parseJsonObject(bytes, configPath), configPath);
  const weights = join(path, ADAPTER_WEIGHTS);
  if (!(await exists(weights))) throw await noWeights(path);
  const tensors = await readTensors(weights, config);
  const sizeBytes = (await stat(weights)).size;
  return { path, config, raw, warnings, tensors, sizeBytes, sha256: await hashFile(weights) };
}

function adapterName(name: string): string {
  if (/^[\w][\w.-]*$/.test(name)) return name;
  throw new NotFoundError(
    `"${name}" cannot be the name of an adapter: letters, digits, "_", "-" and "." can`,
  );
}

async function noAdapter(path: string): Promise<NotFoundError> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => null);
  if (entries === null) return new NotFoundError(`${path}: no such adapter folder`);
  const named: string[] = [];
  for (const entry of entries)
    if (entry.isDirectory() && (await exists(join(path, entry.name, ADAPTER_CONFIG)))) named.push(entry.name);
  const hint = named.length > 0 ? `; it holds the named adapters: ${named.sort().join(", ")}` : "";
  return new NotFoundError(`${path} is not an adapter folder: it has no ${ADAPTER_CONFIG}${hint}`);
}

async function noWeights(path: string): Promise<NotFoundError> {
  const isPickled = await exists(join(path, "adapter_model.bin"));
  return new NotFoundError(
    isPickled
      ? `${path} has its weights as adapter_model.bin, a pickle, which can run code and is never opened; save it ` +
          "again from PEFT with safe_serialization=True"
      : `${path} has no ${ADAPTER_WEIGHTS}`,
  );
}

async function readTensors(path: string, config: LoraConfig): Promise<Map<string, ModuleTensors>> {
  const file = await openSafetensors(path);
  try {
    const placed = placeTensors(path, [...file.entries.keys()], config);
    const tensors = new Map<string, ModuleTensors>();
    for (const { module, slot, key } of placed) {
      const tensor: FloatTensor = await file.read(key);
      tensors.set(module, { ...tensors.get(module), [slot]: tensor });
    }
    checkTensors(path, tensors, config);
    return tensors;
  } finally {
    await file.close();
  }
}

/** Writes an adapter as PEFT does, for one that PEFT or lowrank reads back the same. Both files are complete under
 *  temporary names before the first gets its own. Other files in the folder stay. Returns the folder.
 *  @throws InputError for what `readAdapter` would refuse; LowrankError ("storage"), FormatError if the disk fails. */
export async function writeAdapter(
  dir: string,
  content: AdapterContent,
  options: AdapterOptions = {},
): Promise<string> {
  const path = options.name === undefined ? dir : join(dir, adapterName(options.name));
  const weights = join(path, ADAPTER_WEIGHTS);
  checkTensors("adapter", content.tensors, content.config);
  const config = peftConfigText(savedConfig(content));
  const configPath = join(path, ADAPTER_CONFIG);
  const [newWeights, newConfig] = [temporaryPath(weights), temporaryPath(configPath)];
  const inputs = tensorKeys(content.tensors).map(({ key, tensor }) => ({ name: key, ...tensor }));
  await storing(path, async () => {
    try {
      await writeSafetensors(newWeights, inputs, { metadata: { format: "pt" } });
      await writeFileAtomic(newConfig, config);
      await rename(newWeights, weights);
      await rename(newConfig, configPath);
    } finally {
      for (const left of [newWeights, newConfig]) await rm(left, { force: true });
    }
  });
  return path;
}
