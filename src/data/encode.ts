import { concatBytes, textOfUtf8 } from "../io/bytes.ts";
import { encodeRaw } from "../text/raw.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Example } from "./batch.ts";
import { encodeConversation } from "./encode-chat.ts";
import { encodePair, heldMarkup } from "./encode-pair.ts";
import type { Conversation, Labelled, PlainText, Report, Row } from "./formats/format.ts";
import type { EncodedRow, LossOn, RowNotes, RowSequence, TextCodec } from "./sequence.ts";
import { closed } from "./sequence.ts";

/** Tokens and labels of a row. A conversation: each assistant turn as it is in use (`encodeTurn`), turns that begin like a later one
 *  joined with it. Without a chat template, or where a plain prompt holds chat markup already: prompt, completion, EOS as they
 *  stand. Plain text: [BOS] text EOS. Turns after the last answer are cut, for no loss depends on them.
 *  Reports, and gives null, where training on the row would teach something wrong: a double BOS, an assistant turn
 *  whose end is not learned, nothing to learn. */
export function encodeRow(row: Row, codec: TextCodec, lossOn: LossOn, notes: RowNotes): EncodedRow | null {
  const { report } = notes;
  const sequences =
    row.kind === "conversation"
      ? conversationSequences(row, codec, lossOn, notes)
      : textSequence(row, codec, report);
  return sequences?.every(({ ids }) => startsRight(ids, codec.tokenizer, report)) ? sequences : null;
}

function conversationSequences(
  row: Conversation,
  codec: TextCodec,
  lossOn: LossOn,
  notes: RowNotes,
): EncodedRow | null {
  const { template } = codec;
  const markup = heldMarkup(row, codec);
  if (markup !== null) notes.note("markup", markup);
  const sequences =
    template === null || markup !== null
      ? encodePair(row, codec, notes.report)
      : encodeConversation(row, { ...codec, template }, notes);
  if (sequences === null || lossOn === "completions") return sequences;
  if (row.unlearned?.length) {
    notes.report("has turns that are not to be learned, and the loss is on everything");
    return null;
  }
  const whole = sequences.at(-1) as RowSequence;
  const isLabel = new Uint8Array(whole.ids.length).fill(1, 1);
  const answer = whole.answerStart ?? whole.isLabel.indexOf(1);
  return [{ ...whole, isLabel, ...(answer > 1 ? { answerStart: answer } : {}) }];
}

/** Of a row with a label a decoder learns the text. */
function textSequence(row: PlainText | Labelled, codec: TextCodec, report: Report): EncodedRow | null {
  if (row.kind === "labelled" && row.pair !== null) {
    report("is a pair of texts with a label: only an encoder (bert, roberta) learns from it");
    return null;
  }
  const ids = closed(encodeRaw(codec.tokenizer, row.text), codec, report);
  if (ids === null) return null;
  if (ids.length < 2) {
    report("has no token to learn", "empty");
    return null;
  }
  return [{ ids: Int32Array.from(ids), isLabel: new Uint8Array(ids.length).fill(1, 1), completionLength: 0 }];
}

function startsRight(ids: Int32Array, tokenizer: Tokenizer, report: Report): boolean {
  const { bosId } = tokenizer;
  if (bosId === null || ids[0] !== bosId || ids[1] !== bosId) return true;
  report(`starts with two BOS tokens (${tokenizer.token(bosId)}): the chat template writes its own`);
  return false;
}

/** A stretch of an example's text, for showing what is learned and what is only read. */
export interface PreviewSegment {
  readonly text: string;
  readonly isLabel: boolean;
  /** Offsets in the text between tokens, where text that looks like a special token is none. */
  readonly cuts?: readonly number[];
}

/** Sequences of an example as text, cut where labels begin and end; special tokens are shown. */
export function previewExample(example: Example, tokenizer: Tokenizer): PreviewSegment[] {
  const segments: PreviewSegment[] = [];
  for (let start = 0; start < example.ids.length; ) {
    const isLabel = example.isLabel[start] === 1;
    const next = example.isLabel.indexOf(isLabel ? 0 : 1, start);
    const end = next < 0 ? example.ids.length : next;
    segments.push({ ...shownTokens(example.ids.subarray(start, end), tokenizer), isLabel });
    start = end;
  }
  return segments;
}

/** Text of ids, and where tokens meet inside what looks like a special token but is written letter by letter. */
function shownTokens(ids: Int32Array, tokenizer: Tokenizer): Omit<PreviewSegment, "isLabel"> {
  // Bytes, not `decode`: that would drop the space a segment starts with under some tokenizers.
  const bytes = Array.from(ids, (id) => tokenizer.tokenBytes(id));
  const text = textOfUtf8(concatBytes(bytes));
  const isTrueSpecial = new Set<number>();
  const borders: number[] = [];
  let at = 0;
  ids.forEach((id, i) => {
    const length = textOfUtf8(bytes[i] as Uint8Array).length;
    if (tokenizer.isSpecial(id)) isTrueSpecial.add(at);
    at += length;
    borders.push(at);
  });
  const lookalikes = tokenizer
    .sections(text)
    .filter(({ id, start }) => id !== null && !isTrueSpecial.has(start));
  const cuts = borders.filter((b) =>
    lookalikes.some(({ start, text: found }) => b > start && b < start + found.length),
  );
  return cuts.length > 0 ? { text, cuts } : { text };
}
