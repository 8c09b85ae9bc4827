import { stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import {
  FormatError,
  InputError,
  LowrankError,
  NotFoundError,
  type Problem,
  UnsupportedError,
} from "../errors.ts";
import { MLX_WEIGHTS } from "../formats/mlx/adapter.ts";
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS, combinationParts } from "../formats/peft/files.ts";
import { readAdapterConfig } from "../formats/peft/folder.ts";
import { exists } from "../io/download.ts";
import { readFolder } from "../io/folder.ts";
import { isSafePath, requireInside } from "../io/inside.ts";
import { fileFault } from "../io/regular-file.ts";
import { adapterInRun } from "./resolve.ts";

/** A file to publish. */
export interface PublishedFile {
  /** In the repository, with "/". */
  readonly path: string;
  /** On disk. */
  readonly file: string;
  readonly folder: string;
  readonly sizeBytes: number;
}

/** What belongs to a model or an adapter; other files (logs, checkpoints, half-written ones) stay here. */
const PUBLISHED =
  /^(README\.md|LICEN[CS]E(\.\w+)?|NOTICE|.*\.(safetensors|gguf|jinja|model)|(adapter_config|labels|config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|chat_template|chat_template_args|.*\.safetensors\.index)\.json|merges\.txt)$/;

/** Files of an adapter folder (of a run folder its adapter; of a combination those of its parts too) or of a model folder.
 *  @throws NotFoundError if there is no such folder; UnsupportedError if it is neither; InputError naming each file that is a
 *  link out of the folder, no regular file, or of a strange name */
export async function publishedFiles(path: string): Promise<PublishedFile[]> {
  const given = resolve(path);
  const isModel = await exists(join(given, "config.json"));
  const folder = isModel ? given : await adapterInRun(given);
  const info = await stat(folder).catch(() => null);
  if (info === null) throw new NotFoundError(`${path}: no such folder`);
  if (!info.isDirectory()) throw notOne(path, "is a file");
  if (folder !== given) await requireInside(given, basename(folder));
  const parts = await requireAdapterOrModel(folder, path);
  const problems: Problem[] = [];
  const lists = await Promise.all(["", ...parts].map((part) => filesIn(folder, part, problems)));
  if (problems.length > 0) throw new InputError("the folder cannot be uploaded:", problems);
  return lists.flat();
}

/** The files of a folder or part that are to be published; what is wrong with others goes to `problems`. */
async function filesIn(folder: string, part: string, problems: Problem[]): Promise<PublishedFile[]> {
  const names = (await readFolder(join(folder, part))).filter((name) => PUBLISHED.test(name)).sort();
  const files: PublishedFile[] = [];
  for (const name of names) {
    const path = part === "" ? name : `${part}/${name}`;
    try {
      const file = await publishedFile(folder, path);
      if (file !== null) files.push(file);
    } catch (error) {
      if (!(error instanceof LowrankError)) throw error;
      problems.push({ where: JSON.stringify(path).slice(1, -1), message: error.message });
    }
  }
  return files;
}

/** null for a folder. */
async function publishedFile(folder: string, path: string): Promise<PublishedFile | null> {
  const file = join(folder, path);
  if (!isSafePath(path)) throw new FormatError(JSON.stringify(file), "is a name that cannot be published");
  await requireInside(folder, path);
  const info = await stat(file);
  if (info.isDirectory()) return null;
  const fault = await fileFault(file);
  if (fault !== null) throw new FormatError(file, fault);
  return { path, file, folder: dirname(file), sizeBytes: info.size };
}

function notOne(path: string, why: string): UnsupportedError {
  return new UnsupportedError(`${path} ${why}, expected the folder of an adapter, a run or a model`);
}

/** Subfolders that belong to it. @throws UnsupportedError saying what is missing */
async function requireAdapterOrModel(folder: string, path: string): Promise<string[]> {
  const names = new Set(await readFolder(folder));
  if (names.has(ADAPTER_CONFIG)) {
    const parts = combinationParts(await readAdapterConfig(folder), folder);
    const hasWeights = names.has(ADAPTER_WEIGHTS) || names.has(MLX_WEIGHTS) || parts !== null;
    if (!hasWeights) throw notOne(path, `has ${ADAPTER_CONFIG} and no weights (${ADAPTER_WEIGHTS})`);
    for (const part of parts ?? []) await readAdapterConfig(join(folder, part));
    return [...(parts ?? [])];
  }
  const isWhole = names.has("config.json") && [...names].some((name) => name.endsWith(".safetensors"));
  if (!isWhole) throw notOne(path, `has neither ${ADAPTER_CONFIG} nor config.json with *.safetensors`);
  return [];
}
