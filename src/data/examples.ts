import { InputError } from "../errors.ts";
import { countLabels, type Example } from "./batch.ts";
import { type EncodedRow, encodeRow, type LossOn, type TextCodec } from "./encode.ts";
import { exampleStore, type StoredExamples } from "./example-store.ts";
import type { Row } from "./formats/format.ts";
import type { Indexed } from "./indexed.ts";
import { type ProblemList, problemList } from "./problems.ts";
import { formatWhere, type Where } from "./records.ts";
import { type RowWork, visitRows } from "./visit-rows.ts";

/** A training row and the place it was read from. */
export interface DatasetRow {
  readonly row: Row;
  readonly where: Where;
}

/** Rows by index: an array, or rows of which most are on disk. */
export interface Rows extends Indexed<DatasetRow> {
  /** About how large they are, where that is known. */
  readonly sizeBytes?: number | undefined;
}

export interface EncodeOptions extends RowWork {
  /** Longest example, in tokens; at least 2. */
  readonly maxLength: number;
  /** Default completions. */
  readonly lossOn?: LossOn | undefined;
  /** A row longer than maxLength loses the left of its prompt (default), is dropped, or is an error. With `left`, a
   *  row whose last completion alone is too long is dropped, and plain text is split into windows. */
  readonly truncation?: "left" | "drop" | "error" | undefined;
  /** Changes examples that have the right length; by default they stay. */
  readonly finish?: ((example: Example) => Example) | undefined;
}

/** What encoding did, in numbers. */
export interface DatasetReport {
  readonly rows: number;
  readonly examples: number;
  /** Rows that lost tokens on the left. */
  readonly truncated: number;
  /** Labels among those tokens (earlier assistant turns). */
  readonly truncatedLabels: number;
  /** Rows left out because they, or their completion, are too long. */
  readonly dropped: number;
  /** Rows of plain text cut into several examples. */
  readonly split: number;
  /** Rows whose labels were found by comparing text, because the chat template rewrites content. */
  readonly inexact: number;
  /** Tokens that are read only, over all examples. */
  readonly promptTokens: number;
  /** Tokens that are learned, over all examples. */
  readonly labelTokens: number;
  /** Tokens of the longest row before anything is cut. */
  readonly longest: number;
}

/** Examples ready for packing. */
export interface EncodedDataset extends StoredExamples {
  readonly report: DatasetReport;
}

type Piece = Pick<Example, "ids" | "isLabel" | "answerStart">;
type Counts = { -readonly [key in keyof DatasetReport]: number };

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
  await visitRows(rows, "tokenizing", options, ({ row, where }, rowIndex) => {
    const report = (message: string): void => problems.add(formatWhere(where), message);
    const encoded = encodeRow(row, codec, options.lossOn ?? "completions", report);
    if (encoded === null) return;
    if (!encoded.isExact) counts.inexact++;
    for (const piece of toLength(encoded, codec, options, counts, report)) {
      store.add(finish({ ...piece, index: store.length }), rowIndex);
      countTokens(piece, counts);
    }
  });
  problems.throwIfAny("The data cannot be trained on");
  if (store.length === 0) throwNothingLeft(counts, options, problems);
  counts.examples = store.length;
  return { ...store.finish(), report: counts };
}

function zeroCounts(rows: number): Counts {
  const zero = { examples: 0, truncated: 0, truncatedLabels: 0, dropped: 0, split: 0, inexact: 0 };
  return { rows, ...zero, promptTokens: 0, labelTokens: 0, longest: 0 };
}

function countTokens(piece: Piece, counts: Counts): void {
  const labels = countLabels(piece.isLabel);
  counts.labelTokens += labels;
  counts.promptTokens += piece.ids.length - labels;
}

function throwNothingLeft(counts: Counts, options: EncodeOptions, problems: ProblemList): void {
  const why =
    counts.rows === 0 ? "there are no rows" : `all ${counts.rows} rows are longer than ${options.maxLength}`;
  problems.add("maxLength", `${why} tokens; the longest has ${counts.longest}`);
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
  counts.longest = Math.max(counts.longest, row.ids.length);
  if (row.ids.length <= maxLength) return [row];
  if (truncation === "error") {
    report(`${row.ids.length} tokens are more than maxLength ${maxLength}`);
    return [];
  }
  if (truncation === "left" && row.completionLength === 0) {
    counts.split++;
    return windows(row, maxLength);
  }
  // One token before the completion must stay, to predict its first token from.
  if (truncation === "drop" || row.completionLength > maxLength - 1) {
    counts.dropped++;
    return [];
  }
  const piece = cutLeft(row, maxLength, codec);
  counts.truncated++;
  counts.truncatedLabels += countLabels(row.isLabel) - countLabels(piece.isLabel);
  return [piece];
}

/** Keeps the end, and a BOS in front: models attend to it heavily. */
function cutLeft(row: EncodedRow, maxLength: number, codec: TextCodec): Piece {
  const { bosId, addBos } = codec.tokenizer;
  const keepsBos = addBos && row.ids[0] === bosId && row.completionLength < maxLength - 1;
  const start = row.ids.length - maxLength;
  const ids = row.ids.slice(start);
  const isLabel = row.isLabel.slice(start);
  if (keepsBos) {
    ids[0] = row.ids[0] as number;
    isLabel[1] = 0; // its predecessor is gone
  }
  isLabel[0] = 0;
  if (row.answerStart === undefined) return { ids, isLabel };
  return { ids, isLabel, answerStart: Math.max(1, row.answerStart - start) };
}

/** Windows that overlap by one token, so that every token but the first is a label exactly once. */
function windows(row: EncodedRow, maxLength: number): Piece[] {
  const pieces: Piece[] = [];
  for (let start = 0; start < row.ids.length - 1; start += maxLength - 1) {
    const ids = row.ids.slice(start, start + maxLength);
    const isLabel = row.isLabel.slice(start, start + maxLength);
    isLabel[0] = 0;
    pieces.push({ ids, isLabel });
  }
  return pieces;
}
