import { answerLeadIn, attempt, type EncodedPrompt, encodePrompt, encodeTurn } from "../text/chat-encode.ts";
import { contentText, type Message } from "../text/messages.ts";
import { renderOptions } from "./encode-chat.ts";
import { encodePair, heldMarkup } from "./encode-pair.ts";
import type { Conversation, Row } from "./formats/format.ts";
import type { TextCodec } from "./sequence.ts";

/** The last answer of a conversation, to be asked for. */
export interface AskedRow extends EncodedPrompt {
  /** The last turn before the answer, for people. */
  readonly text: string;
  /** What training teaches to write, up to the token that ends it. */
  readonly answer: readonly number[];
  /** Text that may stand in front of the answer and is no part of it. */
  readonly leadIn: string;
}

/** A row as a question with its answer, both as training has them; null where it does not end with an answer, or cannot be asked. */
export function askedRow(row: Row, codec: TextCodec): AskedRow | null {
  if (row.kind !== "conversation" || row.messages.at(-1)?.role !== "assistant") return null;
  const asked =
    codec.template === null || heldMarkup(row, codec) !== null
      ? askedPair(row, codec)
      : askedTurn(row, codec);
  const before = row.messages.at(-2);
  return asked && { ...asked, text: before ? contentText(before) : "" };
}

function askedPair(row: Conversation, codec: TextCodec): Omit<AskedRow, "text"> | null {
  const [pair] = encodePair(row, codec, () => undefined) ?? [];
  if (pair === undefined) return null;
  const ids = Array.from(pair.ids);
  const answerStart = ids.length - pair.completionLength;
  return {
    ids: ids.slice(0, answerStart),
    answerStart,
    answer: upToEnd(ids.slice(answerStart), codec),
    leadIn: "",
  };
}

function askedTurn(row: Conversation, codec: TextCodec): Omit<AskedRow, "text"> | null {
  const { tokenizer, template } = codec;
  if (template === null) return null;
  const options = renderOptions(row);
  const before: readonly Message[] = row.messages.slice(0, -1);
  return attempt(() => {
    const { ids, promptLength } = encodeTurn({ tokenizer, template }, row.messages, options);
    const answer = upToEnd(Array.from(ids.subarray(promptLength)), codec);
    return { ...encodePrompt(codec, before, options), answer, leadIn: answerLeadIn(codec, before, options) };
  });
}

function upToEnd(ids: readonly number[], { eosIds }: TextCodec): readonly number[] {
  const end = ids.findIndex((id) => eosIds.includes(id));
  return end < 0 ? ids : ids.slice(0, end);
}
