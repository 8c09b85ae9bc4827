import { InputError } from "../errors.ts";
import type { ModelSource } from "../formats/model.ts";
import type { BaseModel } from "./base.ts";
import { weightLookups } from "./base-context.ts";
import { familyOf } from "./families.ts";
import { type ModuleSpec, moduleWeights, type WeightSpec } from "./family.ts";
import { modelText } from "./model-text.ts";
import { withNewWeights } from "./new-head.ts";
import type { WeightFile } from "./weight-layout.ts";
import { type BaseBits, ROW_MULTIPLE, type WeightStorage, weightStorages } from "./weight-storage.ts";

/** What a base is to be, beside what its files say. */
export interface BaseChoice {
  /** Bits that the matrices of linear layers are kept in; default 32: as floats. */
  readonly baseBits?: BaseBits;
  /** Variables of the chat template, e.g. `enable_thinking`; over those that an adapter was trained with. */
  readonly templateArgs?: Readonly<Record<string, unknown>>;
  /** What the chat template takes for now; default: the time of each rendering. */
  readonly templateDate?: string | null;
}

/** Puts a model's weights where the runtime finds them. */
export type OpenWeights = (
  specs: readonly WeightSpec[],
  storages: ReadonlyMap<string, WeightStorage>,
) => Promise<WeightFile>;

/** The frozen model of an open source. @throws InputError, UnsupportedError, and what `openWeights` throws */
export async function baseOf(
  source: ModelSource,
  { baseBits = 32, templateArgs = {}, templateDate = null }: BaseChoice,
  openWeights: OpenWeights,
): Promise<BaseModel> {
  const family = familyOf(source.config.family);
  const modules = family.modules(source.config);
  const specs = storedWeights(source, modules);
  const weights = await openWeights(specs, storagesOf(source, modules, specs, baseBits));
  return withNewWeights({
    source,
    config: source.config,
    family,
    modules,
    weights,
    warnings: weights.warnings,
    bits: baseBits,
    ...weightLookups(modules, weights),
    ...modelText(source.tokenizer, source.eosIds, { args: templateArgs, date: templateDate }),
    newWeights: [],
  });
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
