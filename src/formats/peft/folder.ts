import { rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { NotFoundError } from "../../errors.ts";
import { readBytesIfThere, storing, writeFileAtomic } from "../../io/disk.ts";
import { exists, hashFile } from "../../io/download.ts";
import { readEntries } from "../../io/folder.ts";
import { parseJsonObject } from "../../io/json.ts";
import { temporaryPath } from "../../io/temporary.ts";
import type { FloatTensor } from "../../tensor/tensor.ts";
import { openSafetensors } from "../safetensors/read.ts";
import { writeSafetensors } from "../safetensors/write.ts";
import { type BaseIdentity, identityIn } from "./base-identity.ts";
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS, weightsOptions } from "./files.ts";

/** adapter_model.safetensors, read. */
export interface AdapterWeights {
  readonly tensors: ReadonlyMap<string, FloatTensor>;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** adapter_config.json of a folder. @throws NotFoundError saying what the folder holds instead; FormatError */
export async function readAdapterConfig(path: string): Promise<Readonly<Record<string, unknown>>> {
  const configPath = join(path, ADAPTER_CONFIG);
  const bytes = await readBytesIfThere(configPath);
  if (bytes === null) throw await noAdapter(path);
  return parseJsonObject(bytes, configPath);
}

/** adapter_model.safetensors of a folder. @throws NotFoundError (pickled .bin weights are never opened); FormatError */
export async function readAdapterWeights(path: string): Promise<AdapterWeights> {
  const weights = join(path, ADAPTER_WEIGHTS);
  const tensors = await readTensors(weights).catch(async (error) => {
    throw error instanceof NotFoundError ? await noWeights(path) : error;
  });
  return { tensors, sizeBytes: (await stat(weights)).size, sha256: await hashFile(weights) };
}

async function noAdapter(path: string): Promise<NotFoundError> {
  const entries = await readEntries(path).catch((error) => {
    if (error instanceof NotFoundError) return null;
    throw error;
  });
  if (entries === null) {
    const isFile = await exists(path);
    return new NotFoundError(
      isFile ? `${path} is neither an adapter's folder nor a GGUF file` : `${path}: no such adapter folder`,
    );
  }
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

async function readTensors(path: string): Promise<Map<string, FloatTensor>> {
  const file = await openSafetensors(path);
  try {
    const tensors = new Map<string, FloatTensor>();
    for (const key of file.entries.keys()) tensors.set(key, await file.read(key));
    return tensors;
  } finally {
    await file.close();
  }
}

/** The base that an adapter's weights say they were trained on; null where they say nothing, or there are none to read. */
export async function baseOfWeights(path: string): Promise<BaseIdentity | null> {
  const file = await openSafetensors(join(path, ADAPTER_WEIGHTS)).catch(() => null); // reading it says what is wrong with it
  if (file === null) return null;
  await file.close();
  return identityIn(file.metadata);
}

/** Writes an adapter's two files. Both are complete under temporary names before the first gets its own. Other files in the
 *  folder stay. `base`: what the weights say they were trained on. @throws LowrankError ("storage"), FormatError if the disk fails */
export async function writeAdapterFolder(
  path: string,
  config: string,
  tensors: ReadonlyMap<string, FloatTensor>,
  base: BaseIdentity | null = null,
): Promise<void> {
  const [weights, configPath] = [join(path, ADAPTER_WEIGHTS), join(path, ADAPTER_CONFIG)];
  const [newWeights, newConfig] = [temporaryPath(weights), temporaryPath(configPath)];
  const inputs = [...tensors].map(([name, tensor]) => ({ name, ...tensor }));
  await storing(path, async () => {
    try {
      await writeSafetensors(newWeights, inputs, weightsOptions(base));
      await writeFileAtomic(newConfig, config);
      await rename(newWeights, weights);
      await rename(newConfig, configPath);
    } finally {
      for (const left of [newWeights, newConfig]) await rm(left, { force: true });
    }
  });
}
