import type { ModelSource } from "../formats/model.ts";
import { openModel } from "../formats/open-model.ts";
import { type ResolveOptions, resolveModel, substitution } from "../hub/resolve.ts";
import { cacheFolder } from "../io/cache-folder.ts";
import type { OnProgress } from "../io/progress.ts";
import type { BaseModel } from "./base.ts";
import { type BaseChoice, baseOf } from "./base-of.ts";
import { openWeightFile } from "./weight-file.ts";

/** How to find and open a model. */
export interface OpenBaseOptions extends BaseChoice {
  /** Use the cache only. */
  readonly offline?: boolean;
  /** Default: `LOWRANK_CACHE`, else the platform's cache folder. */
  readonly cacheFolder?: string;
  readonly onProgress?: OnProgress;
  readonly signal?: AbortSignal;
}

/** The part of the options that says how to find a model or an adapter. */
export function resolveOptions({
  offline = false,
  cacheFolder,
  onProgress,
  signal,
}: OpenBaseOptions): ResolveOptions {
  return {
    offline,
    ...(cacheFolder === undefined ? {} : { cacheDir: cacheFolder }),
    ...(onProgress ? { onProgress } : {}),
    ...(signal ? { signal } : {}),
  };
}

/** Finds a model by alias, path or Hub id without reading its weights. The caller closes it. */
export async function openSource(name: string, options: OpenBaseOptions = {}): Promise<ModelSource> {
  return openModel(await resolveModel(name, resolveOptions(options)), name);
}

/** Opens a model by alias, path or Hub id: fetched and converted on first use.
 *  @throws NotFoundError, NetworkError, FormatError, UnsupportedError, InputError as the sources and files give reason to */
export async function openBase(name: string, options: OpenBaseOptions = {}): Promise<BaseModel> {
  const source = await openSource(name, options);
  try {
    const folder = cacheFolder(options.cacheFolder);
    const base = await baseOf(source, options, (specs, storages) =>
      openWeightFile(source, specs, folder, { ...options, storages }),
    );
    const replaced = await substitution(name);
    return replaced === null ? base : { ...base, warnings: [replaced, ...base.warnings] };
  } finally {
    await source.close();
  }
}
