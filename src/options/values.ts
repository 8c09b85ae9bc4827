import { z } from "zod";

/** Adds a problem to a zod transform. */
export interface Context {
  readonly issues: { push(issue: { code: "custom"; message: string; input: unknown }): unknown };
}

/** Above 0, and what a float32 can hold with room for sums. */
export const positive: z.ZodNumber = z.number().positive().max(1e30);
/** 1, 2, … */
export const count: z.ZodNumber = z.number().int().min(1).max(1e9);
/** Rows or columns of a matrix: more than any model has. */
export const MAX_WIDTH = 65_536;
export const width: z.ZodNumber = count.max(MAX_WIDTH);
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

/** Items of a list, or of a text between commas. */
export function splitList(value: string | readonly string[]): readonly string[] {
  const items = typeof value === "string" ? splitPaths(value) : value;
  return items.map((text) => text.trim()).filter((text) => text !== "");
}

/** Items between commas, none of which cuts a path that is there: "a, b.jsonl,c.jsonl" are two where the first is a file. */
function splitPaths(value: string): readonly string[] {
  const parts = value.split(",");
  // Not imported: browsers have no such module, and no paths.
  const fs = globalThis.process?.getBuiltinModule?.("node:fs");
  const items: string[] = [];
  for (let from = 0; from < parts.length; ) {
    let to = parts.length;
    while (to > from + 1 && !fs?.existsSync(parts.slice(from, to).join(",").trim())) to--;
    items.push(parts.slice(from, to).join(","));
    from = to;
  }
  return items;
}

/** Refuses a value in a zod transform. */
export function fail(context: Context, message: string, input: unknown): void {
  context.issues.push({ code: "custom", message, input });
}
