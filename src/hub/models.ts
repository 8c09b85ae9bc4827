import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { NetworkError, UnsupportedError } from "../errors.ts";
import { POOLING_FILES } from "../formats/hf/pooling.ts";
import { INDEX_FILE, shardsOf } from "../formats/hf/shards.ts";
import { isMlxConfig, MLX_WEIGHTS } from "../formats/mlx/adapter.ts";
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS, combinationParts, LABELS_FILE } from "../formats/peft/files.ts";
import { readAdapterConfig } from "../formats/peft/folder.ts";
import { TEXT_FILES } from "../formats/peft/text.ts";
import { exists } from "../io/download.ts";
import { SMALL_FILE_BYTES, TOKENIZER_FILE_BYTES } from "../io/limits.ts";
import { folderStorage } from "../io/storage/disk-storage.ts";
import { hubUrlOf } from "./http.ts";
import {
  cachedSnapshot,
  type HubOptions,
  type HubRepo,
  isOffline,
  offlineError,
  openRemote,
  type RemoteSnapshot,
} from "./repo.ts";

/** A model on the Hub as the user writes it: `org/name`, `org/name@revision`, `org/name/file.gguf[@revision]`. */
export interface HubId {
  /** `org/name`. */
  readonly name: string;
  readonly revision: string | null;
  /** The .gguf file within the repository, or null for its safetensors. */
  readonly file: string | null;
}

const HUB_ID = /^([\w][\w.-]*\/[\w][\w.-]*)(?:\/([\w./ -]+\.gguf))?(?:@([\w][\w./-]*))?$/i;

/** Parses a Hub id; null if the text is not one. */
export function parseHubId(text: string): HubId | null {
  const [, name, file, revision] = HUB_ID.exec(text) ?? [];
  if (name === undefined || /\.\.|--/.test(name) || `${file}/${revision}`.split("/").includes(".."))
    return null;
  return { name, revision: revision ?? null, file: file ?? null };
}

function repoOf(id: HubId, options: HubOptions): HubRepo {
  return { type: "model", name: id.name, revision: id.revision ?? options.revision ?? "main" };
}

/** Path of a model in the Hub cache if all of it is there (fetched by lowrank or by Python), else null. */
export async function cachedModel(id: HubId, options: HubOptions = {}): Promise<string | null> {
  const snapshot = await cachedSnapshot(repoOf(id, options), options);
  if (snapshot === null) return null;
  if (id.file !== null) return (await exists(join(snapshot, id.file))) ? join(snapshot, id.file) : null;
  return (await missingFiles(snapshot)).length === 0 ? snapshot : null;
}

/** Path of a model, fetched from the Hub where the cache lacks it: a folder with configuration, tokenizer and
 *  safetensors, or the named .gguf file. Downloads are continued after a break, and verified by size and hash.
 *  @throws NetworkError (no connection, or offline), NotFoundError, LowrankError ("access", "storage"),
 *  UnsupportedError for a repository without safetensors, FormatError if what arrived is damaged. */
export async function fetchModel(id: HubId, options: HubOptions = {}): Promise<string> {
  const cached = await cachedModel(id, options);
  if (cached !== null) return cached;
  const repo = repoOf(id, options);
  if (isOffline(options)) throw offlineError(repo, await wanted(id, repo, options), options);
  const remote = await openRemote(repo, options).catch((error) => {
    throw error instanceof NetworkError ? withWayOut(error, repo, options) : error;
  });
  if (id.file !== null) {
    await remote.fetch([id.file]);
  } else {
    await remote.fetch([...remote.files.keys()].filter(isSmallFile), TOKENIZER_FILE_BYTES);
    await remote.fetch(await weightFiles(repo.name, remote));
  }
  await remote.finish();
  return id.file === null ? remote.folder : join(remote.folder, id.file);
}

/** Folder of an adapter (PEFT's, mlx-lm's or ours) or the named .gguf file, fetched from the Hub where the cache lacks it.
 *  `limitBytes`: of a file of weights.
 *  @throws as `fetchModel`; NotFoundError saying which file the repository lacks; FormatError for one that is too large */
export async function fetchAdapter(
  id: HubId,
  { limitBytes, ...options }: HubOptions & { readonly limitBytes?: number } = {},
): Promise<string> {
  if (id.file !== null) return fetchModel(id, options);
  const repo = repoOf(id, options);
  const cached = await cachedSnapshot(repo, options);
  const missing = cached === null ? [ADAPTER_CONFIG, ADAPTER_WEIGHTS] : await missingOfAdapter(cached);
  if (cached !== null && missing.length === 0) return cached;
  if (isOffline(options)) throw offlineError(repo, missing.join(", "), options);
  const remote = await openRemote(repo, options);
  await remote.fetch([ADAPTER_CONFIG], SMALL_FILE_BYTES);
  const beside = [LABELS_FILE, ...TEXT_FILES].filter((name) => remote.files.has(name));
  await remote.fetch(beside, TOKENIZER_FILE_BYTES);
  await remote.fetch(await filesOfAdapter(remote.folder), limitBytes);
  await remote.finish();
  return remote.folder;
}

/** Files that the configuration of an adapter's folder calls for: its weights, or the files of a combination's parts. */
async function filesOfAdapter(folder: string): Promise<string[]> {
  const config = await readAdapterConfig(folder);
  const parts = combinationParts(config, folder);
  if (parts !== null) return parts.flatMap((p) => [`${p}/${ADAPTER_CONFIG}`, `${p}/${ADAPTER_WEIGHTS}`]);
  return [isMlxConfig(config) ? MLX_WEIGHTS : ADAPTER_WEIGHTS];
}

/** What a snapshot lacks of a whole adapter. */
async function missingOfAdapter(folder: string): Promise<string[]> {
  if (!(await exists(join(folder, ADAPTER_CONFIG)))) return [ADAPTER_CONFIG, ADAPTER_WEIGHTS];
  const needed = await filesOfAdapter(folder);
  const present = await Promise.all(needed.map((name) => exists(join(folder, name))));
  return needed.filter((_, i) => !present[i]);
}

async function wanted(id: HubId, repo: HubRepo, options: HubOptions): Promise<string> {
  if (id.file !== null) return id.file;
  const snapshot = await cachedSnapshot(repo, options);
  if (snapshot === null) return "config.json, the tokenizer's files and *.safetensors";
  return (await missingFiles(snapshot)).join(", ");
}

function withWayOut(error: NetworkError, repo: HubRepo, options: HubOptions): NetworkError {
  return new NetworkError(
    `${error.message}; to fetch ${repo.name} connect to ${hubUrlOf(options)} and run again, ` +
      "or give the path of a local folder or .gguf file",
    { cause: error },
  );
}

const SMALL_FILES = new Set([
  ...POOLING_FILES,
  ...["config.json", "generation_config.json", INDEX_FILE],
  ...["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"],
  ...["vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json"],
]);

/** Everything but the weights that lowrank, or transformers after a merge, or sentence-transformers reads. */
function isSmallFile(path: string): boolean {
  return SMALL_FILES.has(path);
}

/** The weights as transformers picks them: the index's shards, else model.safetensors, else all safetensors. */
async function weightFiles(name: string, remote: RemoteSnapshot): Promise<string[]> {
  if (remote.files.has(INDEX_FILE)) return shardsOf(folderStorage(remote.folder));
  if (remote.files.has("model.safetensors")) return ["model.safetensors"];
  const all = [...remote.files.keys()];
  const weights = all.filter((path) => /^[^/]+\.safetensors$/.test(path));
  if (weights.length > 0) return weights;
  const gguf = all.filter((path) => path.endsWith(".gguf")).map((path) => `${name}/${path}`);
  const pickled = all.some((path) => /\.(bin|pth?)$/.test(path));
  throw new UnsupportedError(
    `${name} has no .safetensors weights` +
      (pickled ? " (its .bin files are pickles, which can run code and are never opened)" : "") +
      (gguf.length > 0 ? `; it has GGUF files, name one of them: ${gguf.join(", ")}` : ""),
  );
}

/** What a snapshot lacks of a whole model, by file name. */
async function missingFiles(folder: string): Promise<string[]> {
  const present = await readdir(folder).catch((): string[] => []);
  const weights = present.filter((name) => name.endsWith(".safetensors"));
  const shards = present.includes(INDEX_FILE)
    ? await shardsOf(folderStorage(folder)).catch(() => [])
    : weights;
  // Listed is not there: a link whose content is gone is listed too.
  const needed = ["config.json", "tokenizer.json", ...(shards.length > 0 ? shards : ["*.safetensors"])];
  const missing: string[] = [];
  for (const name of needed) if (!(await exists(join(folder, name)))) missing.push(name);
  return missing;
}
