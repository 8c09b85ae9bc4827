import { InputError } from "../errors.ts";
import { badRows, type OnBadRow } from "./bad-rows.ts";
import { countLabels, type Example, type Sequence, sequencesOf } from "./batch.ts";
import { encodeRow } from "./encode.ts";
import { exampleStore, type StoredExamples } from "./example-store.ts";
import { leastTokens, shortened } from "./long-rows.ts";
import { type DataNote, noteList, noteText } from "./notes.ts";
import { formatWhere } from "./place.ts";
import { type ProblemList, problemList } from "./problems.ts";
import type { Rows } from "./rows.ts";
import type { EncodedRow, LossOn, RowSequence, TextCodec } from "./sequence.ts";
import { type RowWork, visitRows } from "./visit-rows.ts";

export interface EncodeOptions extends RowWork {
  /** Longest example, in tokens; at least 2. */
  readonly maxLength: number;
  /** Default completions. */
  readonly lossOn?: LossOn | undefined;
  /** A row longer than maxLength loses the left of its prompt (default), is dropped, or is an error. With `left`, a
   *  row whose last completion alone is too long is dropped, and plain text is split into windows. */
  readonly truncation?: "left" | "drop" | "error" | undefined;
  /** What becomes of rows that cannot be trained on; see `badRows`. */
  readonly onBadRow?: OnBadRow | null | undefined;
  /** Changes examples that have the right length; by default they stay. */
  readonly finish?: ((example: Example) => Example) | undefined;
}

/** What encoding did, in numbers. */
export interface DatasetReport {
  readonly rows: number;
  readonly examples: number;
  /** Token sequences of the examples: more than one where earlier turns are written otherwise once others follow. */
  readonly sequences: number;
  /** Rows that lost tokens on the left. */
  readonly truncated: number;
  /** Labels that were lost with them (earlier assistant turns). */
  readonly truncatedLabels: number;
  /** Rows left out because they, or their completion, are too long. */
  readonly dropped: number;
  /** Rows of plain text cut into several examples. */
  readonly split: number;
  /** Tokens that are read only, over all examples. */
  readonly promptTokens: number;
  /** Tokens that are learned, over all examples. */
  readonly labelTokens: number;
  /** Tokens of the longest row before anything is cut. */
  readonly longest: number;
  /** What nobody would expect of the rows. */
  readonly notes: readonly DataNote[];
}

/** Examples ready for packing. */
export interface EncodedDataset extends StoredExamples {
  readonly report: DatasetReport;
}

type Piece = Sequence & Pick<Example, "branches">;
/** The numbers of a report, in the making. */
export type Counts = { -readonly [key in Exclude<keyof DatasetReport, "notes">]: number };

/** Encodes rows and makes them fit.
 *  @throws InputError with every row that cannot be trained on (see encodeRow; too long under "error"), by file and
 *  line, or if no example is left. */
export async function encodeDataset(
  rows: Rows,
  codec: TextCodec,
  options: EncodeOptions,
): Promise<EncodedDataset> {
  if (!(options.maxLength >= 2))
    throw new InputError("Invalid option", [
      { where: "maxLength", message: `expected at least 2 tokens, got ${options.maxLength}` },
    ]);
  const problems = problemList();
  const counts = zeroCounts(rows.length);
  const store = exampleStore(options.spill ?? null);
  const finish = options.finish ?? ((example) => example);
  const noted = noteList();
  const faultsAt = badRows(options.onBadRow ?? null, problems, noted);
  await visitRows(rows, "tokenizing", options, ({ row, where }, rowIndex) => {
    const { report, settle } = faultsAt(where);
    const lossOn = options.lossOn ?? "completions";
    const fitting = shortened(row, codec.tokenizer, options.maxLength);
    const isFar = fitting !== row;
    if (isFar) counts.longest = Math.max(counts.longest, leastTokens(row, codec.tokenizer));
    if (isFar && options.truncation === "error")
      return problems.add(
        formatWhere(where),
        `at least ${counts.longest} tokens are more than maxLength ${options.maxLength}`,
      );
    if (fitting === null || (isFar && options.truncation === "drop")) {
      counts.dropped++;
      return;
    }
    const encoded = encodeRow(fitting, codec, lossOn, { report, note: noted.at(where) });
    if (encoded === null) return settle();
    const tooLong = (message: string): void => problems.add(formatWhere(where), message);
    for (const piece of toLength(encoded, codec, options, counts, tooLong)) {
      store.add(finish({ ...piece, index: store.length }), rowIndex);
      countTokens(piece, counts);
    }
  });
  problems.throwIfAny("The data cannot be trained on");
  if (store.length === 0) throwNothingLeft(counts, options, problems, noted.notes());
  counts.examples = store.length;
  return { ...store.finish(), report: { ...counts, notes: noted.notes() } };
}

/** A report of nothing yet. */
export function zeroCounts(rows: number): Counts {
  const zero = { examples: 0, sequences: 0, truncated: 0, truncatedLabels: 0, dropped: 0, split: 0 };
  return { rows, ...zero, promptTokens: 0, labelTokens: 0, longest: 0 };
}

function countTokens(piece: Piece, counts: Counts): void {
  for (const { ids, isLabel } of sequencesOf(piece)) {
    const labels = countLabels(isLabel);
    counts.sequences++;
    counts.labelTokens += labels;
    counts.promptTokens += ids.length - labels;
  }
}

/** @throws InputError saying why no example is left */
export function throwNothingLeft(
  counts: Counts,
  options: Pick<EncodeOptions, "maxLength">,
  problems: ProblemList,
  notes: readonly DataNote[],
): void {
  const isUnusable = counts.rows > 0 && counts.longest === 0;
  const why =
    counts.rows === 0 ? "there are no rows" : `all ${counts.rows} rows are longer than ${options.maxLength}`;
  if (isUnusable) problems.add("data", notes.map(noteText).join("; "));
  else problems.add("maxLength", `${why} tokens; the longest has ${counts.longest}`);
  problems.throwIfAny("No examples are left");
}

/** The examples a row becomes: one, several windows of plain text, or none. */
function toLength(
  row: EncodedRow,
  codec: TextCodec,
  options: EncodeOptions,
  counts: Counts,
  report: (message: string) => void,
): Piece[] {
  const { maxLength, truncation = "left" } = options;
  const last = row.at(-1) as RowSequence;
  const longest = Math.max(...row.map(({ ids }) => ids.length));
  counts.longest = Math.max(counts.longest, longest);
  if (longest <= maxLength) return [pieceOf(row)];
  if (truncation === "error") {
    report(`${longest} tokens are more than maxLength ${maxLength}`);
    return [];
  }
  if (truncation === "left" && last.completionLength === 0) {
    counts.split++;
    return windows(last, maxLength);
  }
  // One token before the completion must stay, to predict its first token from.
  if (truncation === "drop" || last.completionLength > maxLength - 1) {
    counts.dropped++;
    return [];
  }
  return [cutRow(row, longest - maxLength, codec, counts)];
}

function pieceOf(sequences: readonly Sequence[]): Piece {
  const branches = sequences.slice(0, -1);
  return { ...(sequences.at(-1) as Sequence), ...(branches.length > 0 ? { branches } : {}) };
}

/** A row without its first `start` tokens. All sequences lose as many, so that they share what they have left; those whose answer
 *  does not outlast that are left out. */
function cutRow(row: EncodedRow, start: number, codec: TextCodec, counts: Counts): Piece {
  const labels = (sequences: readonly Sequence[]): number =>
    sequences.reduce((n, { isLabel }) => n + countLabels(isLabel), 0);
  const kept = row.filter(({ ids, completionLength }) => completionLength < ids.length - start);
  const cut = (kept.length > 0 ? kept : row.slice(-1)).map((sequence) => cutLeft(sequence, start, codec));
  counts.truncated++;
  counts.truncatedLabels += labels(row) - labels(cut);
  return pieceOf(cut);
}

/** Keeps the end, and a BOS in front: models attend to it heavily. */
function cutLeft(row: RowSequence, start: number, codec: TextCodec): Sequence {
  const { bosId, addBos } = codec.tokenizer;
  const ids = row.ids.slice(start);
  const isLabel = row.isLabel.slice(start);
  if (addBos && row.ids[0] === bosId && row.completionLength < ids.length - 1) {
    ids[0] = row.ids[0] as number;
    isLabel[1] = 0; // its predecessor is gone
  }
  isLabel[0] = 0;
  if (row.answerStart === undefined) return { ids, isLabel };
  return { ids, isLabel, answerStart: Math.max(1, row.answerStart - start) };
}

/** Windows that overlap by one token, so that every token but the first is a label exactly once. */
function windows(row: RowSequence, maxLength: number): Piece[] {
  const pieces: Piece[] = [];
  for (let start = 0; start < row.ids.length - 1; start += maxLength - 1) {
    const ids = row.ids.slice(start, start + maxLength);
    const isLabel = row.isLabel.slice(start, start + maxLength);
    isLabel[0] = 0;
    pieces.push({ ids, isLabel });
  }
  return pieces;
}
