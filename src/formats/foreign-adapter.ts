import { openFile } from "../io/disk.ts";
import { baseModelOfGguf, readGgufAdapter } from "./gguf/adapter.ts";
import { openGguf } from "./gguf/open.ts";
import { type LoraFactors, type PeftFiles, peftFilesOf } from "./lora-factors.ts";
import { isMlxConfig, readMlxAdapter } from "./mlx/adapter.ts";
import type { ModelConfig } from "./model.ts";
import { readAdapterConfig } from "./peft/folder.ts";

/** A way in which other programs than PEFT store LoRA. */
interface ForeignFormat {
  recognises(path: string): Promise<boolean>;
  read(
    path: string,
    model: ModelConfig,
  ): Promise<{ readonly factors: readonly LoraFactors[]; readonly baseModel: string | null }>;
  /** Base model that it names, without the rest being read. */
  baseModel(path: string): Promise<string | null>;
}

/** One line per format. */
const FORMATS: readonly ForeignFormat[] = [
  { recognises: isGguf, read: readGgufAdapter, baseModel: baseOfGguf },
  { recognises: isMlx, read: readMlxAdapter, baseModel: baseOfMlx },
];

async function isGguf(path: string): Promise<boolean> {
  const file = await openFile(path).catch(() => null);
  if (file === null) return false;
  try {
    const magic = Buffer.alloc(Math.min(4, file.sizeBytes));
    await file.read(0, magic);
    return magic.toString("latin1") === "GGUF";
  } finally {
    await file.close();
  }
}

async function isMlx(path: string): Promise<boolean> {
  return isMlxConfig(await readAdapterConfig(path));
}

async function baseOfGguf(path: string): Promise<string | null> {
  const gguf = await openGguf(path);
  try {
    return baseModelOfGguf(gguf);
  } finally {
    await gguf.close();
  }
}

async function baseOfMlx(path: string): Promise<string | null> {
  const { model } = await readAdapterConfig(path);
  return typeof model === "string" ? model : null;
}

async function formatOf(path: string): Promise<ForeignFormat | null> {
  for (const format of FORMATS) if (await format.recognises(path)) return format;
  return null;
}

/** Whether an adapter is stored in another format than PEFT's (or ours). @throws NotFoundError if it is no adapter */
export async function isForeignAdapter(path: string): Promise<boolean> {
  return (await formatOf(path)) !== null;
}

/** An mlx-lm folder or a GGUF file, as PEFT would have written it; null for a folder in PEFT's format (or ours).
 *  @throws NotFoundError if it is no adapter; as the formats' readers. */
export async function readForeignAdapter(path: string, model: ModelConfig): Promise<PeftFiles | null> {
  const format = await formatOf(path);
  if (format === null) return null;
  const { factors, baseModel } = await format.read(path, model);
  return peftFilesOf(factors, model, baseModel);
}

/** Name of the base model that an adapter of any format names; null where it names none.
 *  @throws NotFoundError, FormatError if it is no adapter. */
export async function baseModelOfAdapter(path: string): Promise<string | null> {
  const format = await formatOf(path);
  if (format !== null) return format.baseModel(path);
  const { base_model_name_or_path: name } = await readAdapterConfig(path);
  return typeof name === "string" ? name : null;
}
