import { doubleOf, ExactNumber } from "../../text/exact-number.ts";
import { field, kindOf, listFields, textField } from "./fields.ts";
import type { DataFormat, DataRecord, FieldMapping, Report } from "./format.ts";

/** Fields of a text, or of the two texts of a pair, under their usual names (those of GLUE among them). */
const TEXT_FIELDS: readonly (readonly [string, string?])[] = [
  ["text", "text_pair"],
  ["sentence1", "sentence2"],
  ["question1", "question2"],
  ["premise", "hypothesis"],
  ["question", "sentence"],
  ["sentence"],
  ["text"],
];

const LABEL = "label";

function usualFields(record: DataRecord): readonly [string, string?] | undefined {
  return TEXT_FIELDS.find((names) =>
    names.every((name) => typeof field(record, name as string) === "string"),
  );
}

function isLabel(value: unknown): value is string | number | boolean | ExactNumber {
  return (
    value instanceof ExactNumber ||
    (["string", "number", "boolean"].includes(typeof value) && value !== "" && !Number.isNaN(value))
  );
}

function fieldsOf(
  record: DataRecord,
  { textField: text, pairField }: FieldMapping,
): readonly [string, string?] {
  if (text !== undefined) return pairField === undefined ? [text] : [text, pairField];
  const [first, second] = usualFields(record) ?? ["text"];
  const pair = pairField ?? second;
  return pair === undefined ? [first] : [first, pair];
}

function labelOf(record: DataRecord, name: string, report: Report): string | number | null {
  const value = field(record, name);
  const number = doubleOf(value);
  if (isLabel(value) && (number === null || Number.isFinite(number))) return number ?? String(value);
  if (value === undefined) report(`no field "${name}"; the record has ${listFields(record)}`);
  else
    report(
      `field "${name}": expected a label (a name or a number), got ${value === "" ? "an empty text" : number === null ? kindOf(value) : value}`,
    );
  return null;
}

/** A text, or a pair of texts, and its label: a name, the label's number, or (for regression) a value. */
export const classification: DataFormat = {
  name: "classification",
  description: "a field label beside text, sentence, or a pair such as sentence1 and sentence2",
  fields: ["textField", "pairField", "labelField"],
  detect: (record) => usualFields(record) !== undefined && isLabel(field(record, LABEL)),
  parse(record, mapping, report) {
    const [first, second] = fieldsOf(record, mapping);
    const text = textField(record, first, report);
    const pair = second === undefined ? null : textField(record, second, report);
    const label = labelOf(record, mapping.labelField ?? LABEL, report);
    if (text === null || label === null || (second !== undefined && pair === null)) return null;
    return { kind: "labelled", text, pair, label };
  },
};
