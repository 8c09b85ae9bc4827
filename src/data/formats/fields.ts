import { ExactNumber } from "../../text/exact-number.ts";
import type { DataRecord, Report } from "./format.ts";

/** A record's own field (never one inherited from Object), or undefined. */
export function field(record: DataRecord, name: string): unknown {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

/** "object", "array", "null", …: what a value is, in words for messages. */
export function kindOf(value: unknown): string {
  if (value instanceof ExactNumber) return "a number";
  if (value instanceof Uint8Array) return "bytes that are no UTF-8 text";
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** Text of a field. Numbers and booleans become text (answers are often numeric columns).
 *  Reports, and gives null, if the field is missing or holds anything else. */
export function textField(record: DataRecord, name: string, report: Report): string | null {
  const value = field(record, name);
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean" || value instanceof ExactNumber)
    return String(value);
  if (value === undefined) report(`no field "${name}"; the record has ${listFields(record)}`);
  else report(`field "${name}": expected text, got ${kindOf(value)}`);
  return null;
}

/** Text of a field that may be missing or null. */
export function optionalTextField(record: DataRecord, name: string, report: Report): string | null {
  const value = field(record, name);
  return value === undefined || value === null ? "" : textField(record, name, report);
}

/** Text of a field the model is to produce: null or an empty text is nothing to learn, which is reported. */
export function completionField(record: DataRecord, name: string, report: Report): string | null {
  const isNothing = field(record, name) === null;
  const text = isNothing ? "" : textField(record, name, report);
  if (text === null || text.trim() !== "") return text;
  report(`field "${name}" is empty: there is nothing to learn from it`, "empty");
  return null;
}

/** Fields of a record, for messages. */
export function listFields(record: DataRecord): string {
  const names = Object.keys(record);
  const shown = names.slice(0, 12).map((name) => `"${name}"`);
  if (names.length > shown.length) shown.push(`… (${names.length} in all)`);
  return shown.length > 0 ? shown.join(", ") : "no fields";
}

/** Fills `{{field}}` in a template. Reports each field the record does not have. */
export function fillTemplate(template: string, record: DataRecord, report: Report): string | null {
  let complete = true;
  const filled = template.replace(/\{\{\s*([^{}]*?)\s*\}\}/g, (_, name: string) => {
    const text = textField(record, name, (message) => report(`prompt template: ${message}`));
    if (text === null) complete = false;
    return text ?? "";
  });
  return complete ? filled : null;
}
