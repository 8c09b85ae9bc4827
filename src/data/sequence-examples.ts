import type { Classifier } from "../formats/model.ts";
import type { SequenceEncoder } from "../text/sequence.ts";
import { badRows, type OnBadRow } from "./bad-rows.ts";
import type { Example } from "./batch.ts";
import { exampleStore } from "./example-store.ts";
import { type Counts, type EncodedDataset, throwNothingLeft, zeroCounts } from "./examples.ts";
import type { Report, Row } from "./formats/format.ts";
import { targetOf } from "./labels.ts";
import { noteList } from "./notes.ts";
import { formatWhere } from "./place.ts";
import { problemList } from "./problems.ts";
import type { Rows } from "./rows.ts";
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
  /** What becomes of rows that cannot be learned from; see `badRows`. */
  readonly onBadRow?: OnBadRow | null | undefined;
}

/** Labelled rows as whole sequences with a target each.
 *  @throws InputError with every row without a label, or with one that the model does not know, by file and line, or if no
 *  example is left */
export async function encodeSequences(
  rows: Rows,
  codec: SequenceCodec,
  options: SequenceOptions,
): Promise<EncodedDataset> {
  const problems = problemList();
  const counts = zeroCounts(rows.length);
  const store = exampleStore(options.spill ?? null);
  const noted = noteList();
  const faultsAt = badRows(options.onBadRow ?? null, problems, noted);
  await visitRows(rows, "tokenizing", options, ({ row, where }, index) => {
    const { report, settle } = faultsAt(where);
    const tooLong = (message: string): void => problems.add(formatWhere(where), message);
    const example = encodeOne(row, codec, options, counts, { report, tooLong });
    if (example !== null) store.add(example, index);
    settle();
  });
  problems.throwIfAny("The data cannot be learned from");
  if (store.length === 0) throwNothingLeft(counts, options, problems, noted.notes());
  counts.examples = store.length;
  counts.sequences = store.length;
  counts.labelTokens = store.length;
  return { ...store.finish(), report: { ...counts, notes: noted.notes() } };
}

function encodeOne(
  row: Row,
  { encode, classifier }: SequenceCodec,
  { maxLength, truncation }: SequenceOptions,
  counts: Counts,
  { report, tooLong }: { readonly report: Report; readonly tooLong: (message: string) => void },
): Omit<Example, "index"> | null {
  const refuse = (message: string): null => {
    report(message);
    return null;
  };
  if (row.kind !== "labelled") return refuse("has no label: an encoder learns from a text and its label");
  const target = targetOf(row.label, classifier.labels, classifier.kind);
  if (typeof target === "string") return refuse(target);
  const { ids, types, cut } = encode(row.text, row.pair, maxLength);
  const length = ids.length + cut;
  counts.longest = Math.max(counts.longest, length);
  if (cut > 0 && truncation === "error") {
    tooLong(`${length} tokens are more than maxLength ${maxLength}`);
    return null;
  }
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
