import { field } from "./fields.ts";
import type { DataRecord, FieldMapping, Report } from "./format.ts";

/** What marks a record as one that says which answer is better, or that an answer is bad; null for others. Whoever names `chosen` as
 *  the field of the answer means to learn it. */
export function preferenceOf(record: DataRecord, mapping: FieldMapping): string | null {
  const named = [mapping.completionField, mapping.messagesField];
  if (field(record, "rejected") !== undefined && field(record, "chosen") !== undefined)
    return named.includes("chosen") ? null : '"chosen" and "rejected"';
  if (field(record, "kto_tag") !== undefined) return '"kto_tag"';
  return field(record, "label") === false ? '"label": false' : null;
}

/** Reports a record that is no plain example of a good answer. */
export function refusesPreference(record: DataRecord, mapping: FieldMapping, report: Report): boolean {
  const mark = preferenceOf(record, mapping);
  if (mark !== null)
    report(
      `has ${mark}: training on preferences is not supported, and the answer is not learned as if it were good`,
    );
  return mark !== null;
}
