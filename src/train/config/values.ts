import { existsSync } from "node:fs";
import { z } from "zod";
import { MAX_RANK } from "../../formats/peft/config.ts";
import { pythonRegExp } from "../../formats/peft/python-regex.ts";

/** Which modules: every linear layer but the head, names (dotted suffixes), or a regex over the whole path. */
export type ModuleSelection = "all-linear" | readonly string[] | { readonly regex: string };

/** The selection as PEFT writes it: a string is "all-linear" or a regex, a list holds names and dotted suffixes. */
export function peftModules(selection: ModuleSelection): string | readonly string[] {
  return typeof selection === "object" && "regex" in selection ? selection.regex : selection;
}

/** Adds a problem to a zod transform. */
interface Context {
  readonly issues: { push(issue: { code: "custom"; message: string; input: unknown }): unknown };
}

/** Above 0, and what a float32 can hold with room for sums. */
export const positive: z.ZodNumber = z.number().positive().max(1e30);
/** 1, 2, … */
export const count: z.ZodNumber = z.number().int().min(1).max(1e9);
/** Rows or columns of a matrix: more than any model has. */
export const width: z.ZodNumber = count.max(MAX_RANK);
/** From 0 to below 1. */
export const share: z.ZodNumber = z.number().min(0).lt(1);
/** Not empty. */
export const text: z.ZodString = z.string().min(1);

/** A list, or its items in one text between commas. A text that is a path as it stands is one item. */
export const names: z.ZodType<readonly string[], unknown> = z
  .union([z.string(), z.array(text)])
  .transform((value, context: Context) => {
    const list = splitList(value);
    if (typeof value === "string" && list.length === 0)
      fail(context, "expected a name, got an empty text", value);
    return list;
  });

/** "all-linear", "/regex/", or names as a list or in one text. */
export const modules: z.ZodType<ModuleSelection, unknown> = z
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

/** How many layers a selection counts from the end; null where it has numbers. */
export function lastLayers(selection: LayerSelection | null): number | null {
  return typeof selection === "string" ? Number(selection.slice("last:".length)) : null;
}

/** Layer numbers and ranges ("0-5,28", 3, [0, "4-6"]), ascending without repeats; or "last:2". */
export const layerList: z.ZodType<LayerSelection, unknown> = z
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

function splitList(value: string | readonly string[]): readonly string[] {
  const items = typeof value === "string" ? splitPaths(value) : value;
  return items.map((text) => text.trim()).filter((text) => text !== "");
}

/** Items between commas, none of which cuts a path that is there: "a, b.jsonl,c.jsonl" are two where the first is a file. */
function splitPaths(value: string): readonly string[] {
  const parts = value.split(",");
  const items: string[] = [];
  for (let from = 0; from < parts.length; ) {
    let to = parts.length;
    while (to > from + 1 && !existsSync(parts.slice(from, to).join(",").trim())) to--;
    items.push(parts.slice(from, to).join(","));
    from = to;
  }
  return items;
}

function regexProblem(source: string): string | null {
  try {
    pythonRegExp(source, true);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

function fail(context: Context, message: string, input: unknown): void {
  context.issues.push({ code: "custom", message, input });
}
