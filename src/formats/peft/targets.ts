import { LowrankError, type Problem } from "../../errors.ts";
import type { LoraConfig } from "./config.ts";
import { pythonRegExp } from "./python-regex.ts";

/** A leaf module of a model by its Hugging Face name, e.g. `model.layers.0.self_attn.q_proj`. */
export interface ModuleInfo {
  readonly name: string;
  readonly isLinear: boolean;
  /** The output layer (LM head). */
  readonly isOutput: boolean;
  readonly isEmbedding: boolean;
}

/** What a configuration adapts. */
export interface TargetMatch {
  /** Names of the adapted modules, in the model's order. */
  readonly matched: readonly string[];
  /** Targets, exclusions and patterns that match nothing, and modules that LoRA cannot adapt. */
  readonly problems: readonly Problem[];
}

type Test = (name: string) => boolean;

/** Modules that a LoRA configuration adapts: the rules of PEFT's `check_target_module_exists`. A string is a regular
 *  expression over the whole name; a list holds names and dotted suffixes; `all-linear` is every linear layer but
 *  the output layer; excluded and saved modules are never adapted. `layersToTransform` filters suffixes, not exact
 *  names (PEFT's rule), and, beyond PEFT, `all-linear`. Nothing matched, a list entry without a match, and an
 *  exclusion or pattern without effect are problems; it is the caller's choice which of them are errors. */
export function matchTargets(modules: readonly ModuleInfo[], config: LoraConfig): TargetMatch {
  const problems: Problem[] = [];
  const collect = <T>(where: string, make: () => T, otherwise: T): T => {
    try {
      return make();
    } catch (error) {
      if (!(error instanceof LowrankError)) throw error;
      problems.push({ where, message: error.message });
      return otherwise;
    }
  };
  const never: Test = () => false;
  const excluded = collect("exclude_modules", () => nameTest(config.excludeModules), never);
  const saved = collect("modules_to_save", () => savedTest(config.modulesToSave), never);
  const targeted = collect("target_modules", () => targetTest(modules, config), never);
  const isSaved: Test = (name) => saved(name) || isSavedModule(config, name);
  const hits = modules.filter((m) => !excluded(m.name) && !isSaved(m.name) && targeted(m.name));
  const matched = hits.filter((m) => m.isLinear || m.isEmbedding).map((m) => m.name);
  for (const m of hits)
    if (!m.isLinear && !m.isEmbedding)
      problems.push({ where: m.name, message: "is neither a linear layer nor an embedding" });
  if (problems.length === 0) problems.push(...withoutEffect(modules, config, matched, excluded));
  return { matched, problems };
}

/** Rank of a module: the first matching key of `rankPattern`, or the configuration's rank. */
export function rankOf(config: LoraConfig, name: string): number {
  return patternValue(config.rankPattern, name) ?? config.rank;
}

/** Alpha of a module, as `rankOf`. */
export function alphaOf(config: LoraConfig, name: string): number {
  return patternValue(config.alphaPattern, name) ?? config.alpha;
}

/** Scaling of a module's B·A: alpha/rank (LoRA §4.1), or alpha/√rank (rsLoRA, arXiv 2312.03732). */
export function scalingOf(config: LoraConfig, name: string): number {
  const rank = rankOf(config, name);
  return alphaOf(config, name) / (config.rsLora ? Math.sqrt(rank) : rank);
}

/** The module, or one that it is part of, is trained whole: its name ends with an entry of `modulesToSave`, at a dot or not
 *  (PEFT's `_set_trainable`: "norm" is also every `input_layernorm`). */
export function isSavedModule(config: LoraConfig, name: string): boolean {
  const parts = name.split(".");
  const paths = parts.map((_, i) => parts.slice(0, i + 1).join("."));
  return config.modulesToSave.some((saved) => paths.some((path) => path.endsWith(saved)));
}

/** PEFT adds this name to `modulesToSave` by itself, whether the model has such a module or not. */
export function isAddedByPeft({ taskType }: LoraConfig, saved: string): boolean {
  return taskType === "SEQ_CLS" && ["classifier", "score"].includes(saved);
}

function patternValue(patterns: Readonly<Record<string, number>>, name: string): number | undefined {
  const key = Object.keys(patterns).find((k) => patternTest(k)(name));
  return key === undefined ? undefined : patterns[key];
}

/** PEFT's `get_pattern_key`: the key at the end of the name, after a dot or from the start. */
function patternTest(key: string): Test {
  const test = pythonRegExp(`(.*\\.)?(${key})$`, false);
  return (name) => test.test(name);
}

function hasSuffix(name: string, suffix: string): boolean {
  return name === suffix || name.endsWith(`.${suffix}`);
}

function nameTest(what: string | readonly string[] | null): Test {
  if (what === null) return () => false;
  if (typeof what !== "string") return (name) => what.some((suffix) => hasSuffix(name, suffix));
  const test = pythonRegExp(what, true);
  return (name) => test.test(name);
}

/** PEFT's rule for what is not adapted (`_matches_modules_to_save`), which is not the one for what is saved. */
function savedTest(saved: readonly string[]): Test {
  const tests = saved.map((m) => pythonRegExp(`(^|.*\\.)${m}($|\\..*)`, false));
  return (name) => tests.some((test) => test.test(name));
}

/** The configuration asks for every linear layer but the output layer. */
export function isAllLinear(config: LoraConfig): boolean {
  return typeof config.targetModules === "string" && config.targetModules.toLowerCase() === "all-linear";
}

function targetTest(modules: readonly ModuleInfo[], config: LoraConfig): Test {
  const targets = config.targetModules;
  const inLayers = layerTest(config);
  if (isAllLinear(config)) {
    const linear = new Set(modules.filter((m) => m.isLinear && !m.isOutput).map((m) => m.name));
    return (name) => linear.has(name) && inLayers(name);
  }
  const named = nameTest(targets);
  if (typeof targets === "string") return named;
  return (name) => targets.includes(name) || (named(name) && inLayers(name));
}

function layerTest(config: LoraConfig): Test {
  const layers = config.layersToTransform;
  if (layers === null || layers.length === 0) return () => true;
  const patterns = config.layersPattern?.length
    ? config.layersPattern.map((p) => pythonRegExp(`(?:^|.*?\\.)${p}\\.(?P<idx>\\d+)\\.`, false))
    : [pythonRegExp(".*?\\.[^.]*\\.(?P<idx>\\d+)\\.", false)];
  return (name) => {
    const found = patterns.map((p) => p.exec(name)?.groups?.idx).find((index) => index !== undefined);
    return found !== undefined && layers.includes(Number(found));
  };
}

function withoutEffect(
  modules: readonly ModuleInfo[],
  config: LoraConfig,
  matched: readonly string[],
  excluded: Test,
): Problem[] {
  const kinds = [...new Set(modules.filter(isAdaptable).map((m) => m.name.split(".").at(-1)))].join(", ");
  const layers = config.layersToTransform === null ? "" : ` in layers ${config.layersToTransform.join(", ")}`;
  const nothing = (target: string): Problem => ({
    where: "target_modules",
    message: `${JSON.stringify(target)} matches no module${layers}; this model has: ${kinds}`,
  });
  const targets = config.targetModules;
  const unmatched =
    typeof targets === "string" ? [] : targets.filter((t) => !modules.some((m) => hasSuffix(m.name, t)));
  const problems = unmatched.map(nothing);
  if (matched.length === 0 && problems.length === 0)
    problems.push(nothing(typeof targets === "string" ? targets : targets.join(", ")));
  if (config.excludeModules !== null && !modules.some((m) => excluded(m.name)))
    problems.push({ where: "exclude_modules", message: "excludes no module" });
  return [...problems, ...idlePatterns(config, matched)];
}

function isAdaptable(module: ModuleInfo): boolean {
  return module.isLinear || module.isEmbedding;
}

function idlePatterns(config: LoraConfig, matched: readonly string[]): Problem[] {
  const idle = (where: string, patterns: Readonly<Record<string, number>>): Problem[] =>
    Object.keys(patterns)
      .filter((key) => !matched.some(patternTest(key)))
      .map((key) => ({ where, message: `${JSON.stringify(key)} matches no adapted module` }));
  return [...idle("rank_pattern", config.rankPattern), ...idle("alpha_pattern", config.alphaPattern)];
}
