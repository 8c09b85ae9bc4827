import { contentLength, contentText, type Message } from "../text/messages.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Conversation, Row } from "./formats/format.ts";

/** A conversation far beyond the longest example loses what truncation would take from it anyway, before its tokens are counted: the
 *  left of its earlier messages. So a prompt of many megabytes costs no more than one that fits. Null where the last answer alone is
 *  that long. Other rows stay. */
export function shortened(row: Row, tokenizer: Tokenizer, maxLength: number): Row | null {
  if (row.kind !== "conversation") return row;
  const limit = maxLength * tokenizer.longestToken; // so many characters surely are more tokens
  const lengths = row.messages.map((message) => contentText(message).length);
  let surplus = lengths.reduce((a, b) => a + b, 0) - 2 * limit;
  if (surplus <= 0) return row;
  if ((lengths.at(-1) ?? 0) > limit && row.messages.at(-1)?.role === "assistant") return null;
  const messages = row.messages.map((message, i): Message => {
    const taken = i < row.messages.length - 1 ? Math.min(surplus, lengths[i] as number) : 0;
    surplus -= taken;
    // A message is not emptied: templates may refuse that.
    return taken === 0
      ? message
      : { ...message, content: contentText(message).slice(Math.min(taken, (lengths[i] as number) - 1)) };
  });
  return { ...row, messages } satisfies Conversation;
}

/** Tokens that a row has at least. */
export function leastTokens(row: Row, tokenizer: Tokenizer): number {
  if (row.kind !== "conversation") return 0;
  return Math.ceil(contentLength(row.messages) / tokenizer.longestToken);
}
