import type { Labelled } from "../../data/formats/format.ts";
import { numberOf } from "../../data/labels.ts";
import type { Rows } from "../../data/rows.ts";
import { InputError } from "../../errors.ts";
import type { BaseModel } from "../../models/base.ts";
import { encoderOf } from "../../models/family.ts";

/** Names that transformers gives where nobody named the labels. */
const isUnnamed = (labels: readonly string[]): boolean => labels.every((label, i) => label === `LABEL_${i}`);

const isCount = (n: number | null): n is number => n !== null && Number.isInteger(n) && n >= 0;

/** Most labels that are taken for classes. */
const MAX_LABELS = 10_000;

/** The labels of the rows that have one. */
export function* labelsOf(rows: Rows): Generator<Labelled["label"]> {
  for (const { row } of rows) if (row.kind === "labelled") yield row.label;
}

/** Names of the classes, in the order of the head's outputs: those given; those of a head that names them; else those of the
 *  data, whole numbers as they count, names in alphabetical order. @throws InputError if that gives fewer than two */
export function classNames(rows: Rows, base: BaseModel, given: readonly string[] | null): readonly string[] {
  const { labels: known, kind } = encoderOf(base.config).classifier;
  const hasHead = base.newWeights.length === 0 && kind === "classes";
  if (given !== null) return checked(given, "labels");
  if (hasHead && !isUnnamed(known)) return known;
  const names = new Set<string>();
  let count: number | null = 2; // null: not all are whole numbers
  for (const label of labelsOf(rows)) {
    names.add(String(label));
    const number = numberOf(label);
    count = count !== null && isCount(number) ? Math.max(count, number + 1) : null;
  }
  if (count === null) return checked([...names].sort(), "data");
  if (count > MAX_LABELS)
    throw notClasses(
      `the highest label is ${count - 1}, expected numbers from 0 (for values: task regression)`,
    );
  if (hasHead && count <= known.length) return known;
  return Array.from({ length: count }, (_, i) => `LABEL_${i}`);
}

function checked(labels: readonly string[], where: string): readonly string[] {
  const repeated = labels.find((label, i) => labels.indexOf(label) !== i);
  if (repeated !== undefined) throw notClasses(`"${repeated}" is given twice`, where);
  if (labels.length >= 2 && labels.length <= MAX_LABELS) return labels;
  const got = labels.length === 1 ? `only "${labels[0]}"` : `${labels.length} labels`;
  throw notClasses(`expected 2 to ${MAX_LABELS} labels, got ${got}`, where);
}

function notClasses(message: string, where = "data"): InputError {
  return new InputError("there are no classes to tell apart", [{ where, message }]);
}
