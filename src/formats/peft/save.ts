import type { LoraConfig } from "./config.ts";
import { isAdapted, type ModuleTensors } from "./keys.ts";
import { alphaOf, isAllLinear, rankOf } from "./targets.ts";

/** The configuration that says in a file what it says in memory, for the modules that are adapted:
 *  - `all-linear` becomes the list of module kinds, as PEFT writes it, because layers cannot be chosen beside it;
 *  - PEFT sorts patterns when it writes, and reads the first that matches: where that would change a rank or an
 *    alpha, patterns are written out module by module. */
export function savedConfig(adapter: {
  readonly config: LoraConfig;
  readonly tensors: ReadonlyMap<string, ModuleTensors>;
}): LoraConfig {
  const { config } = adapter;
  const modules = [...adapter.tensors].filter(([, slots]) => isAdapted(slots)).map(([name]) => name);
  const kinds = [...new Set(modules.map((name) => name.split(".").at(-1) as string))].sort();
  const targetModules = isAllLinear(config) && kinds.length > 0 ? kinds : config.targetModules;
  return {
    ...config,
    targetModules,
    rankPattern: savedPattern(config.rankPattern, modules, (c, name) =>
      rankOf({ ...config, rankPattern: c }, name),
    ),
    alphaPattern: savedPattern(config.alphaPattern, modules, (c, name) =>
      alphaOf({ ...config, alphaPattern: c }, name),
    ),
  };
}

type Pattern = Readonly<Record<string, number>>;

function savedPattern(
  pattern: Pattern,
  modules: readonly string[],
  valueFor: (pattern: Pattern, name: string) => number,
): Pattern {
  const sorted = Object.fromEntries(Object.entries(pattern).sort(([a], [b]) => (a < b ? -1 : 1)));
  if (modules.every((name) => valueFor(sorted, name) === valueFor(pattern, name))) return pattern;
  const usual = (name: string): string => `^${name.replaceAll(".", "\\.")}`;
  return Object.fromEntries(modules.map((name) => [usual(name), valueFor(pattern, name)]));
}
