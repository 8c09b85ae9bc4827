import { kindOf } from "../formats/fields.ts";
import type { DataRecord } from "../formats/format.ts";
import type { Where } from "../place.ts";
import type { ReadContext, SourceRecord } from "../record.ts";
import { parseJson } from "./json-values.ts";
import { readLines } from "./lines.ts";

/** JSON Lines: one object per line; blank lines are skipped. */
export async function* readJsonLines(file: string, context: ReadContext): AsyncGenerator<SourceRecord> {
  for await (const { text, line } of readLines(file, context)) {
    if (text.trim() === "") continue;
    const where: Where = { file, line, unit: "line" };
    const record = parseRecord(text, where, context);
    if (record !== null) yield { record, where };
  }
}

/** The object that a JSON text holds; what is wrong is noted, and null given. */
export function parseRecord(text: string, where: Where, context: ReadContext): DataRecord | null {
  const value = parseValue(text, where, context);
  return value === undefined ? null : asRecord(value, where, context);
}

/** The value of a JSON text; what is wrong is noted, and undefined given. */
export function parseValue(text: string, where: Where, context: ReadContext): unknown {
  try {
    const { value, twice } = parseJson(text);
    for (const key of new Set(twice)) context.notes.at(where)("twice", key);
    return value;
  } catch (error) {
    const line = where.line + linesBefore(text, error as Error);
    context.bad({ ...where, line }, `not valid JSON: ${(error as Error).message.replace(/\s+/g, " ")}`);
    return undefined;
  }
}

/** Line ends of a text of several lines before the place where parsing it fails. */
function linesBefore(text: string, { message }: Error): number {
  if (!text.includes("\n")) return 0;
  const position = /at position (\d+)/.exec(message)?.[1];
  const before = position === undefined ? text : text.slice(0, Number(position));
  return before.split("\n").length - 1;
}

/** A value that must be an object; anything else is noted. */
export function asRecord(value: unknown, where: Where, context: ReadContext): DataRecord | null {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as DataRecord;
  context.bad(where, `expected a JSON object, got ${kindOf(value)}`);
  return null;
}
