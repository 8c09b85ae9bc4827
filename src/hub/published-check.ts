import { basename } from "node:path";
import { FormatError, InputError, LowrankError, type Problem, UnsupportedError } from "../errors.ts";
import { openGguf } from "../formats/gguf/open.ts";
import { INDEX_FILE, shardsOf } from "../formats/hf/shards.ts";
import { combinationParts } from "../formats/peft/files.ts";
import { openSafetensors } from "../formats/safetensors/read.ts";
import { readBytes } from "../io/disk.ts";
import { parseJsonObject } from "../io/json.ts";
import { TOKENIZER_FILE_BYTES } from "../io/limits.ts";
import { folderStorage } from "../io/storage/disk-storage.ts";
import { requireFinite } from "../tensor/finite.ts";
import type { FloatTensor } from "../tensor/tensor.ts";
import type { PublishedFile } from "./published-files.ts";

/** Reads a file as its users will. @throws LowrankError saying what is wrong */
type Check = (file: PublishedFile, all: readonly PublishedFile[]) => Promise<void>;

/** One line per kind; a file of another kind is not looked into. */
const CHECKS: readonly (readonly [RegExp, Check])[] = [
  [/\.safetensors$/, checkSafetensors],
  [/\.gguf$/, checkGguf],
  [/\.index\.json$/, checkIndex],
  [/\.json$/, checkJson],
  [/\.(jinja|txt)$/, checkText],
];

/** Reads every file that is to be published, as whoever fetches it will: headers, all weights, configurations.
 *  @throws InputError naming each file that is cut off, damaged or empty, and tensors that are not finite */
export async function checkPublished(files: readonly PublishedFile[], signal?: AbortSignal): Promise<void> {
  const problems: Problem[] = [];
  for (const file of files) {
    signal?.throwIfAborted();
    const check = CHECKS.find(([names]) => names.test(file.path))?.[1];
    try {
      await check?.(file, files);
    } catch (error) {
      if (!(error instanceof LowrankError)) throw error;
      problems.push({ where: file.path, message: error.message.replaceAll(`${file.file}: `, "") });
    }
  }
  if (problems.length > 0) throw new InputError("the folder cannot be uploaded:", problems);
}

async function readJson(path: string): Promise<Record<string, unknown>> {
  return parseJsonObject(await readBytes(path, TOKENIZER_FILE_BYTES), path);
}

async function checkJson({ file }: PublishedFile): Promise<void> {
  await readJson(file);
}

async function checkText({ file }: PublishedFile): Promise<void> {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(await readBytes(file, TOKENIZER_FILE_BYTES));
  } catch (error) {
    throw error instanceof LowrankError
      ? error
      : new FormatError(file, "is not UTF-8 text", { cause: error });
  }
}

async function checkIndex(
  { file, folder, path }: PublishedFile,
  all: readonly PublishedFile[],
): Promise<void> {
  if (!path.endsWith(INDEX_FILE)) return checkJson({ file, folder, path, sizeBytes: 0 });
  const there = new Set(all.filter((f) => f.folder === folder).map((f) => basename(f.file)));
  const missing = (await shardsOf(folderStorage(folder))).filter((name) => !there.has(name));
  if (missing.length > 0) throw new FormatError(file, `names ${missing.join(", ")}, not there`);
}

async function checkSafetensors(
  { file, folder }: PublishedFile,
  all: readonly PublishedFile[],
): Promise<void> {
  const opened = await openSafetensors(file);
  try {
    if (opened.entries.size === 0 && !(await isCombination(folder, all)))
      throw new FormatError(file, "holds no tensors");
    await checkFinite(file, opened.entries.keys(), opened.read);
  } finally {
    await opened.close();
  }
}

async function checkGguf({ file }: PublishedFile): Promise<void> {
  const opened = await openGguf(file);
  try {
    if (opened.entries.size === 0) throw new FormatError(file, "holds no tensors");
    await checkFinite(file, opened.entries.keys(), opened.read);
  } finally {
    await opened.close();
  }
}

/** Types that are not read as floats (whole numbers, other quantizations) are taken as they are. */
async function checkFinite(
  file: string,
  names: Iterable<string>,
  read: (name: string) => Promise<FloatTensor>,
): Promise<void> {
  for (const name of names) {
    const tensor = await read(name).catch((error) => {
      if (error instanceof UnsupportedError) return null;
      throw error;
    });
    if (tensor !== null) requireFinite(file, name, tensor);
  }
}

/** The folder of several adapters' parts has no weights of its own. */
async function isCombination(folder: string, all: readonly PublishedFile[]): Promise<boolean> {
  const config = all.find((f) => f.folder === folder && f.path.endsWith("adapter_config.json"));
  return config !== undefined && combinationParts(await readJson(config.file), folder) !== null;
}
