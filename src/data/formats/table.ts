import { InputError } from "../../errors.ts";
import { alpaca } from "./alpaca.ts";
import { classification } from "./classification.ts";
import { field, listFields } from "./fields.ts";
import type { DataFormat, DataRecord, FieldMapping } from "./format.ts";
import { messages } from "./messages.ts";
import { preferenceOf } from "./preferences.ts";
import { promptCompletion } from "./prompt-completion.ts";
import { sharegpt } from "./sharegpt.ts";
import { text } from "./text.ts";

/** Every data format, in the order in which they are tried on a record. */
export const dataFormats: readonly DataFormat[] = [
  messages,
  sharegpt,
  alpaca,
  promptCompletion,
  classification,
  text,
];

/** Every field that a format may have named. */
export const FIELD_NAMES: readonly (keyof FieldMapping)[] = [
  ...new Set(dataFormats.flatMap(({ fields }) => fields)),
];

/** The format of that name. @throws InputError that lists the known ones. */
export function findFormat(name: string): DataFormat {
  const format = dataFormats.find((candidate) => candidate.name === name);
  if (format !== undefined) return format;
  const known = dataFormats.map((candidate) => candidate.name).join(", ");
  throw new InputError("Unknown data format", [{ where: "format", message: `"${name}"; known: ${known}` }]);
}

/** The format a record is in; null if none fits. Naming fields in the mapping decides by itself. */
export function detectFormat(record: DataRecord, mapping: FieldMapping): DataFormat | null {
  const byRecord = dataFormats.find((format) => format.detect(record));
  if (mapping.labelField !== undefined || mapping.pairField !== undefined) return classification;
  if (mapping.textField !== undefined) return field(record, "label") === undefined ? text : classification;
  if (mapping.messagesField !== undefined) return byRecord === sharegpt ? sharegpt : messages;
  if (mapping.promptTemplate !== undefined) return promptCompletion;
  if (mapping.promptField !== undefined && mapping.completionField !== undefined) return promptCompletion;
  if (byRecord !== undefined) return byRecord;
  return (mapping.promptField ?? mapping.completionField) ? promptCompletion : null;
}

/** What to tell the user when no format fits. */
export function describeUndetected(record: DataRecord): string {
  const preference = preferenceOf(record, {});
  if (preference !== null)
    return `has ${preference}: training on preferences is not supported; to learn the better answers, name their field (completionField: chosen)`;
  const known = dataFormats.map((format) => `${format.name} (${format.description})`).join("; ");
  return `cannot tell the data format: the record has ${listFields(record)}. Name the fields (promptField and completionField), or give one of the formats: ${known}`;
}
