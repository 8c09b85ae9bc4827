import type { ChatText } from "../text/chat-encode.ts";
import type { Report } from "./formats/format.ts";
import type { TakeNote } from "./notes.ts";

/** How text becomes one model's tokens. */
export interface TextCodec extends ChatText {
  /** Ids that end generation. */
  readonly eosIds: readonly number[];
}

/** Which tokens are labels: what the assistant says, or everything. */
export type LossOn = "completions" | "all";

/** One training sequence of a row, before it is made to fit. */
export interface RowSequence {
  readonly ids: Int32Array;
  readonly isLabel: Uint8Array;
  /** Tokens at the end that may not be lost: the last completion; 0 for plain text, which may be cut anywhere. */
  readonly completionLength: number;
  /** As in `Example`. */
  readonly answerStart?: number;
}

/** The sequences of a row, at least one, that of its last turn last; several where earlier turns are written otherwise once others
 *  follow. */
export type EncodedRow = readonly RowSequence[];

/** What encoding a row tells of it. */
export interface RowNotes {
  /** Why the row cannot be trained on. */
  readonly report: Report;
  /** What nobody would expect. */
  readonly note: TakeNote;
}

/** Ids with EOS behind them, unless they end in a token that ends generation already, white space apart. */
export function closed(ids: number[], { tokenizer, eosIds }: TextCodec, report: Report): number[] | null {
  if (tokenizer.eosId === null) {
    report("the tokenizer has no EOS token, so the model could not learn to stop");
    return null;
  }
  const last = ids.findLast((id) => tokenizer.isSpecial(id) || tokenizer.decode([id]).trim() !== "");
  return last !== undefined && eosIds.includes(last) ? ids : [...ids, tokenizer.eosId];
}
