import { kindOf } from "../formats/fields.ts";
import type { DataRecord } from "../formats/format.ts";
import type { ReadContext, SourceRecord } from "../records.ts";
import { readLines } from "./lines.ts";

/** JSON Lines: one object per line; blank lines are skipped. */
export async function* readJsonLines(file: string, context: ReadContext): AsyncGenerator<SourceRecord> {
  for await (const { text, line } of readLines(file, context)) {
    if (text.trim() === "") continue;
    const record = parseObject(text, `${file}:${line}`, context);
    if (record !== null) yield { record, where: { file, line, unit: "line" } };
  }
}

function parseObject(text: string, where: string, context: ReadContext): DataRecord | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    context.problems.add(where, `not valid JSON: ${(error as Error).message}`);
    return null;
  }
  return asRecord(value, where, context);
}

/** A value that must be an object; anything else is reported. */
export function asRecord(value: unknown, where: string, context: ReadContext): DataRecord | null {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as DataRecord;
  context.problems.add(where, `expected a JSON object, got ${kindOf(value)}`);
  return null;
}
