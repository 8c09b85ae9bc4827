import { InputError, type Problem } from "../../errors.ts";
import { type OpenAdapterOptions, type OpenedAdapter, openAdapter } from "../files/adapter.ts";
import type { ModelShape } from "../model-shape.ts";
import type { Factors } from "./active.ts";

/** Adapters to load on one base, by name, and those to use. */
export interface AdapterChoice {
  /** One adapter to use: a folder (PEFT, mlx-lm, a run), a .gguf file, or a Hub id. Its name is "default". */
  readonly adapter?: string;
  /** Further adapters by name. Without `adapter` and `weights` the first is in use. */
  readonly adapters?: Readonly<Record<string, string>>;
  /** Those in use, with the factor of each: W + Σ factor · update. */
  readonly weights?: Readonly<Record<string, number>>;
  /** Also use adapters that name another model than this as their base. */
  readonly anyBase?: boolean;
}

/** Name of an adapter that was given none, as PEFT's. */
export const DEFAULT_ADAPTER = "default";

/** Adapters that are open. */
export interface ChosenAdapters {
  readonly opened: ReadonlyMap<string, OpenedAdapter>;
  readonly factors: Factors;
}

/** Paths by name. @throws InputError if two have one name */
export function pathsOf({ adapter, adapters = {} }: AdapterChoice): ReadonlyMap<string, string> {
  const named = Object.entries(adapters);
  if (adapter !== undefined && DEFAULT_ADAPTER in adapters)
    throw new InputError("the adapters cannot be loaded", [
      { where: `adapters.${DEFAULT_ADAPTER}`, message: "is the name of `adapter`, which is given too" },
    ]);
  return new Map([...(adapter === undefined ? [] : [[DEFAULT_ADAPTER, adapter] as const]), ...named]);
}

/** Opens what was chosen, one after the other.
 *  @throws as `openAdapter`; InputError with everything that does not fit, over all of them, and names in `weights` that are
 *  not loaded */
export async function openChosen(
  choice: AdapterChoice,
  shape: ModelShape,
  access: OpenAdapterOptions,
): Promise<ChosenAdapters> {
  const paths = pathsOf(choice);
  const [first] = paths.keys();
  const factors = new Map(Object.entries(choice.weights ?? (first === undefined ? {} : { [first]: 1 })));
  checkNames([...factors.keys()], [...paths.keys()]);
  const opened = new Map<string, OpenedAdapter>();
  const problems: Problem[] = [];
  for (const [name, path] of paths)
    try {
      opened.set(name, await openAdapter(path, shape, { ...access, anyBase: choice.anyBase ?? false }));
    } catch (error) {
      if (!(error instanceof InputError) || paths.size === 1) throw error;
      problems.push(...error.problems.map((p) => ({ ...p, where: `${name}: ${p.where}` })));
    }
  if (problems.length > 0) throw new InputError("the adapters do not fit the model", problems);
  return { opened, factors };
}

/** @throws InputError listing every name that is not among the known ones */
export function checkNames(names: readonly string[], known: readonly string[]): void {
  const list = known.length > 0 ? known.join(", ") : "none";
  const problems = names
    .filter((name) => !known.includes(name))
    .map((name) => ({ where: name, message: `no adapter of this name is loaded; loaded: ${list}` }));
  if (problems.length > 0) throw new InputError("these adapters cannot be used:", problems);
}
