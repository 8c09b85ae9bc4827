import { InputError } from "../errors.ts";
import type { ModelSource } from "../formats/model.ts";
import { openModel } from "../formats/open-model.ts";
import { type ResolveOptions, resolveModel, substitution } from "../hub/resolve.ts";
import { cacheFolder } from "../io/cache-folder.ts";
import type { OnProgress } from "../io/progress.ts";
import type { BaseModel } from "./base.ts";
import { weightLookups } from "./base-context.ts";
import { familyOf } from "./families.ts";
import { type ModuleSpec, moduleWeights, type WeightSpec } from "./family.ts";
import { modelText } from "./model-text.ts";
import { withNewWeights } from "./new-head.ts";
import { openWeightFile } from "./weight-file.ts";
import { type BaseBits, ROW_MULTIPLE, type WeightStorage, weightStorages } from "./weight-storage.ts";

/** How to find and open a model. */
export interface OpenBaseOptions {
  /** Use the cache only. */
  readonly offline?: boolean;
  /** Default: `LOWRANK_CACHE`, else the platform's cache folder. */
  readonly cacheFolder?: string;
  /** Bits that the matrices of linear layers are kept in; default 32: as floats. */
  readonly baseBits?: BaseBits;
  /** Variables of the chat template, e.g. `enable_thinking`; over those that an adapter was trained with. */
  readonly templateArgs?: Readonly<Record<string, unknown>>;
  /** What the chat template takes for now; default: the time of each rendering. */
  readonly templateDate?: string | null;
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
    const family = familyOf(source.config.family);
    const modules = family.modules(source.config);
    const folder = cacheFolder(options.cacheFolder);
    const specs = storedWeights(source, modules);
    const storages = storagesOf(source, modules, specs, options.baseBits ?? 32);
    const weights = await openWeightFile(source, specs, folder, { ...options, storages });
    const replaced = await substitution(name);
    return withNewWeights({
      source,
      config: source.config,
      family,
      modules,
      weights,
      warnings: [...(replaced === null ? [] : [replaced]), ...weights.warnings],
      bits: options.baseBits ?? 32,
      ...weightLookups(modules, weights),
      ...modelText(source.tokenizer, source.eosIds, {
        args: options.templateArgs ?? {},
        date: options.templateDate ?? null,
      }),
      newWeights: [],
    });
  } finally {
    await source.close();
  }
}

/** The weights that a checkpoint must have: all but those of a head that it may lack. */
function storedWeights(source: ModelSource, modules: readonly ModuleSpec[]): WeightSpec[] {
  const present = new Set(source.weights.map((w) => w.path));
  const isOptional = ({ module }: WeightSpec): boolean =>
    module.kind === "linear" && module.mayBeNew === true;
  return modules.flatMap(moduleWeights).filter((w) => present.has(w.path) || !isOptional(w));
}

/** @throws InputError if nothing of the model can be kept in so few bits */
function storagesOf(
  source: ModelSource,
  modules: readonly ModuleSpec[],
  specs: readonly WeightSpec[],
  bits: BaseBits,
): ReadonlyMap<string, WeightStorage> {
  const types = new Map(source.weights.map((w) => [w.path, w.storage]));
  const storages = weightStorages(modules, specs, bits, (path) => types.get(path));
  if (bits === 32 || [...storages.values()].some((s) => s.bits === bits)) return storages;
  const message = `expected 32: no linear layer has inputs that are a multiple of ${ROW_MULTIPLE}`;
  throw new InputError(`${source.name} cannot be quantized`, [{ where: "baseBits", message }]);
}

/** Number of parameters; a shared weight counts once. */
export function parameterTotal(modules: readonly ModuleSpec[]): number {
  return modules.flatMap(moduleWeights).reduce((n, w) => n + w.shape.reduce((a, b) => a * b, 1), 0);
}
