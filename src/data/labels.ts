import type { Labelled } from "./formats/format.ts";

type Label = Labelled["label"];

/** A label as a number: it is one, or its text is (as in CSV files); null otherwise. */
export function numberOf(label: Label): number | null {
  if (typeof label === "number") return Number.isFinite(label) ? label : null;
  return /^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i.test(label) ? Number(label) : null;
}

/** Index of a label among the names: its own, or the index itself; null if it is none of them. */
export function labelIndex(label: Label, names: readonly string[]): number | null {
  const named = names.indexOf(String(label));
  if (named >= 0) return named;
  const index = numberOf(label);
  return index !== null && Number.isInteger(index) && index >= 0 && index < names.length ? index : null;
}

/** What a row's label is to a model: the index of a class, or a value; a text says what is wrong with it. */
export function targetOf(label: Label, names: readonly string[], kind: "classes" | "value"): number | string {
  if (kind === "value") return numberOf(label) ?? `label ${JSON.stringify(label)}: expected a number`;
  const index = labelIndex(label, names);
  if (index !== null) return index;
  const known = names
    .slice(0, 20)
    .map((name, i) => `${name} (${i})`)
    .join(", ");
  const more = names.length > 20 ? `, … (${names.length} in all)` : "";
  return `unknown label ${JSON.stringify(label)}; known: ${known}${more}`;
}
