import { InputError } from "../errors.ts";
import type { Classifier } from "../formats/model-source.ts";
import type { SequenceEncoder } from "../text/sequence.ts";
import type { Example } from "./batch.ts";
import { exampleStore } from "./example-store.ts";
import type { DatasetReport, DatasetRow, EncodedDataset, Rows } from "./examples.ts";
import { targetOf } from "./labels.ts";
import { type ProblemList, problemList } from "./problems.ts";
import { formatWhere } from "./records.ts";
import { type RowWork, visitRows } from "./visit-rows.ts";

/** How labelled texts become one encoder's tokens and targets. */
export interface SequenceCodec {
  readonly encode: SequenceEncoder;
  readonly classifier: Classifier;
}

export interface SequenceOptions extends RowWork {
  /** Longest example, in tokens, special tokens included. */
  readonly maxLength: number;
  /** Texts that are longer are cut at the end (of a pair the longer one first), dropped, or an error. */
  readonly truncation: "left" | "drop" | "error";
}

type Counts = { -readonly [key in Exclude<keyof DatasetReport, "notes">]: number };

/** Labelled rows as whole sequences with a target each.
 *  @throws InputError with every row without a label, or with one that the model does not know, by file and line, or if no
 *  example is left */
export async function encodeSequences(
  rows: Rows,
  codec: SequenceCodec,
  options: SequenceOptions,
): Promise<EncodedDataset> {
  const problems = problemList();
  const counts: Counts = { ...NOTHING, rows: rows.length };
  const store = exampleStore(options.spill ?? null);
  await visitRows(rows, "tokenizing", options, (row, index) => {
    const example = encodeOne(row, codec, options, counts, problems);
    if (example !== null) store.add(example, index);
  });
  problems.throwIfAny("The data cannot be learned from");
  if (store.length === 0)
    throw new InputError("No examples are left", [
      { where: "maxLength", message: `all ${rows.length} rows are longer than ${options.maxLength} tokens` },
    ]);
  counts.examples = store.length;
  counts.sequences = store.length;
  counts.labelTokens = store.length;
  return { ...store.finish(), report: { ...counts, notes: [] } };
}

const NOTHING: Counts = {
  rows: 0,
  examples: 0,
  sequences: 0,
  truncated: 0,
  truncatedLabels: 0,
  dropped: 0,
  split: 0,
  promptTokens: 0,
  labelTokens: 0,
  longest: 0,
};

function encodeOne(
  { row, where }: DatasetRow,
  { encode, classifier }: SequenceCodec,
  { maxLength, truncation }: SequenceOptions,
  counts: Counts,
  problems: ProblemList,
): Omit<Example, "index"> | null {
  const refuse = (message: string): null => {
    problems.add(formatWhere(where), message);
    return null;
  };
  if (row.kind !== "labelled") return refuse("has no label: an encoder learns from a text and its label");
  const target = targetOf(row.label, classifier.labels, classifier.kind);
  if (typeof target === "string") return refuse(target);
  const { ids, types, cut } = encode(row.text, row.pair, maxLength);
  const length = ids.length + cut;
  counts.longest = Math.max(counts.longest, length);
  if (cut > 0 && truncation === "error")
    return refuse(`${length} tokens are more than maxLength ${maxLength}`);
  if (cut > 0 && truncation === "drop") {
    counts.dropped++;
    return null;
  }
  if (cut > 0) counts.truncated++;
  counts.promptTokens += ids.length;
  return {
    ids: Int32Array.from(ids),
    isLabel: new Uint8Array(ids.length),
    types: Uint8Array.from(types),
    target,
  };
}
