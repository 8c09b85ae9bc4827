import { z } from "zod";
import { architectureOf } from "../../formats/architectures/table.ts";
import { DEFAULT_LORA_CONFIG, type LoraConfig } from "../../formats/peft/config.ts";
import { pythonRegExp } from "../../formats/peft/python-regex.ts";
import { type SettingsOf, setting } from "../../options/setting.ts";
import { type Context, fail, splitList, text } from "../../options/values.ts";
import type { TrainingUse } from "../method-kind.ts";
import type { ModelShape } from "../model-shape.ts";
import { type LayerChoice, lastOf } from "./layer-choice.ts";

/** Heading of the methods' options in help texts. */
export const ADAPTER = "Adapter";

/** Which modules: every linear layer but the head, names (dotted suffixes), or a regex over the whole path. */
export type ModuleSelection = "all-linear" | readonly string[] | { readonly regex: string };

/** The selection as PEFT writes it: a string is "all-linear" or a regex, a list holds names and dotted suffixes. */
function peftModules(selection: ModuleSelection): string | readonly string[] {
  return typeof selection === "object" && "regex" in selection ? selection.regex : selection;
}

/** "all-linear", "/regex/", or names as a list or in one text. */
const modules: z.ZodType<ModuleSelection, unknown> = z
  .union([z.string(), z.array(text), z.strictObject({ regex: text })])
  .transform((value, context: Context): ModuleSelection => {
    if (value === "all-linear" || Array.isArray(value)) return value as ModuleSelection;
    const regex =
      typeof value === "string" ? /^\/(.+)\/$/s.exec(value)?.[1] : (value as { regex: string }).regex;
    if (regex === undefined) return splitList(value as string);
    const problem = regexProblem(regex);
    if (problem) fail(context, problem, value);
    return { regex };
  });

/** Layers by number, or the last n of the model. */
export type LayerSelection = readonly number[] | `last:${number}`;

/** Layer numbers and ranges ("0-5,28", 3, [0, "4-6"]), ascending without repeats; or "last:2". */
const layerList: z.ZodType<LayerSelection, unknown> = z
  .union([z.string(), z.number(), z.array(z.union([z.string(), z.number()]))])
  .transform((value, context: Context): LayerSelection => {
    const last = /^\s*last\s*:\s*([1-9]\d{0,3})\s*$/.exec(String(value))?.[1];
    if (last !== undefined) return `last:${Number(last)}`;
    const parts = Array.isArray(value) ? value.map(String) : splitList(String(value));
    const ranges = parts.map(layerRange);
    const wrong = parts.filter((_, i) => ranges[i] === null);
    if (wrong.length > 0 || parts.length === 0)
      fail(
        context,
        `expected layers such as 0-5,28 or last:2, got ${JSON.stringify(wrong[0] ?? value)}`,
        value,
      );
    return [...new Set(ranges.flatMap((range) => range ?? []))].sort((a, b) => a - b);
  });

function layerRange(part: string): number[] | null {
  const match = /^(\d{1,4})(?:\s*-\s*(\d{1,4}))?$/.exec(part.trim());
  const [first, last] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])];
  return match && first <= last ? Array.from({ length: last - first + 1 }, (_, i) => first + i) : null;
}

function regexProblem(source: string): string | null {
  try {
    pythonRegExp(source, true);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Which layers, for methods that need to know no more. */
export interface LayerOptions {
  /** null: all. */
  readonly layers: LayerSelection | null;
}

/** Which modules a method adapts. */
export interface TargetOptions extends LayerOptions {
  /** null: all linear layers; of an encoder the usual ones of its architecture. */
  readonly targetModules: ModuleSelection | null;
  readonly excludeModules: ModuleSelection | null;
}

export const layerSettings: SettingsOf<LayerOptions> = {
  layers: setting(layerList.nullable(), null, {
    group: ADAPTER,
    value: "list",
    description: "layers to adapt, e.g. 0-5,28,29 or last:2",
    defaultText: "all",
    expects: "layer numbers and ranges such as 0-5,28, or last:2",
    knownAs: ["layersToTransform"],
  }),
};

export const targetSettings: SettingsOf<TargetOptions> = {
  targetModules: setting(modules.nullable(), null, {
    group: ADAPTER,
    value: "modules",
    description: "modules to adapt: all-linear, names (comma-separated) or /regex/",
    defaultText: "all-linear; query,value of an encoder",
    expects: "all-linear, a list of module names or /regex/",
    knownAs: ["target", "targets", "loraTarget", "loraTargetModules", "loraLayers", "keys"],
  }),
  excludeModules: setting(modules.nullable(), null, {
    group: ADAPTER,
    value: "modules",
    description: "modules to leave out: names or /regex/",
    expects: "a list of module names or /regex/",
  }),
  ...layerSettings,
};

/** Numbers of the chosen layers; null for all. @throws InputError if the model does not have as many as are counted from the end */
export function chosenLayers({ layers }: LayerOptions, { config }: Pick<ModelShape, "config">): LayerChoice {
  return typeof layers === "string"
    ? lastOf(Number(layers.slice("last:".length)), config.layerCount)
    : layers;
}

/** The modules that options choose in a model, in the terms of LoRA's configuration; `given` are other settings of it. */
export function targetConfig(
  options: TargetOptions,
  shape: Pick<ModelShape, "config">,
  { taskType, wholeModules }: TrainingUse,
  given: Partial<LoraConfig>,
): LoraConfig {
  return {
    ...DEFAULT_LORA_CONFIG,
    ...given,
    targetModules: chosenModules(options, shape),
    excludeModules: options.excludeModules === null ? null : peftModules(options.excludeModules),
    layersToTransform: chosenLayers(options, shape),
    modulesToSave: [...new Set([...(given.modulesToSave ?? []), ...wholeModules])],
    taskType,
  };
}

/** What `targetModules` stands for in a model, as PEFT writes it. */
export function chosenModules(
  { targetModules }: Pick<TargetOptions, "targetModules">,
  { config }: Pick<ModelShape, "config">,
): string | readonly string[] {
  if (targetModules !== null) return peftModules(targetModules);
  return architectureOf(config.family).loraTargets ?? "all-linear";
}
