import { InputError, type Problem } from "../../errors.ts";
import { type OpenAdapterOptions, openAdapter } from "../files/adapter.ts";
import type { OpenedAdapter } from "../files/parts.ts";
import type { ModelShape } from "../model-shape.ts";
import { type ChosenAdapters, checkNames, DEFAULT_ADAPTER } from "./chosen.ts";

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
