import { join } from "node:path";
import { NotFoundError } from "../../errors.ts";
import type { FloatTensor } from "../../tensor/tensor.ts";
import type { PeftFiles } from "../lora-factors.ts";
import type { BaseIdentity } from "./base-identity.ts";
import { type LoraConfig, peftConfigText, readPeftConfig } from "./config.ts";
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from "./files.ts";
import { readAdapterConfig, readAdapterWeights, writeAdapterFolder } from "./folder.ts";
import { checkTensors, type ModuleTensors, placeTensors, tensorKeys } from "./keys.ts";
import { savedConfig } from "./save.ts";

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

/** How to write an adapter. */
export interface WriteAdapterOptions extends AdapterOptions {
  /** What its weights are to say of the model that they were trained on. */
  readonly base?: BaseIdentity | null;
}

/** Reads a LoRA adapter in PEFT's format: a folder with adapter_config.json and adapter_model.safetensors, or the
 *  subfolder of a named one. Weights are float32 [rank, in] and [out, rank].
 *  @throws NotFoundError for a missing file (pickled .bin weights are never opened); InputError with everything wrong
 *  in the configuration, or in the tensors (A without B, ranks, NaN or infinity, unmatched keys); UnsupportedError. */
export async function readAdapter(dir: string, options: AdapterOptions = {}): Promise<AdapterFile> {
  const path = options.name === undefined ? dir : join(dir, adapterName(options.name));
  const { config, raw, warnings } = readPeftConfig(await readAdapterConfig(path), join(path, ADAPTER_CONFIG));
  const { tensors, sizeBytes, sha256 } = await readAdapterWeights(path);
  const modules = modulesOf(tensors, config, join(path, ADAPTER_WEIGHTS));
  return { path, config, raw, warnings, tensors: modules, sizeBytes, sha256 };
}

/** An adapter that is in memory as PEFT's files. `where` names it in errors. @throws as `readAdapter` */
export function adapterOfFiles({ config: raw, tensors }: PeftFiles, where: string): AdapterContent {
  const { config } = readPeftConfig(raw, where);
  return { config, tensors: modulesOf(tensors, config, where) };
}

function modulesOf(
  tensors: ReadonlyMap<string, FloatTensor>,
  config: LoraConfig,
  where: string,
): Map<string, ModuleTensors> {
  const modules = new Map<string, ModuleTensors>();
  for (const { module, slot, key } of placeTensors(where, [...tensors.keys()], config))
    modules.set(module, { ...modules.get(module), [slot]: tensors.get(key) });
  checkTensors(where, modules, config);
  return modules;
}

function adapterName(name: string): string {
  if (/^[\w][\w.-]*$/.test(name)) return name;
  throw new NotFoundError(
    `"${name}" cannot be the name of an adapter: letters, digits, "_", "-" and "." can`,
  );
}

/** Writes an adapter as PEFT does, for one that PEFT or lowrank reads back the same. Both files are complete under
 *  temporary names before the first gets its own. Other files in the folder stay. Returns the folder.
 *  @throws InputError for what `readAdapter` would refuse; LowrankError ("storage"), FormatError if the disk fails. */
export async function writeAdapter(
  dir: string,
  content: AdapterContent,
  options: WriteAdapterOptions = {},
): Promise<string> {
  const path = options.name === undefined ? dir : join(dir, adapterName(options.name));
  checkTensors("adapter", content.tensors, content.config);
  const tensors = new Map(tensorKeys(content.tensors).map(({ key, tensor }) => [key, tensor]));
  await writeAdapterFolder(path, peftConfigText(savedConfig(content)), tensors, options.base ?? null);
  return path;
}
