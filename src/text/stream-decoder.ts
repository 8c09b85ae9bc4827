import type { Tokenizer } from "./tokenizer.ts";

/** Turns ids, one at a time, into text that is ready to print. */
export interface StreamDecoder {
  /** Text completed by this id; empty while a character is still missing bytes. Special tokens add nothing. */
  push(id: number): string;
  /** What is left: U+FFFD if the ids ended inside a character. The decoder starts afresh. */
  flush(): string;
}

/** Stream decoder for one sequence. All text pushed out plus `flush()` equals `tokenizer.decode(ids)`; no part ever
 *  holds half a character. With `special`, special tokens are written out; with `shown`, those of these texts. */
export function createStreamDecoder(
  tokenizer: Tokenizer,
  options: { readonly special?: boolean; readonly shown?: readonly string[] } = {},
): StreamDecoder {
  let decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let atStart = true;
  const shown = new Set(options.shown?.map((token) => tokenizer.tokenId(token)));
  return {
    push(id) {
      if (!options.special && tokenizer.isSpecial(id) && !shown.has(id)) return "";
      const bytes = tokenizer.tokenBytes(id);
      const text = decoder.decode(bytes, { stream: true });
      if (!atStart || bytes.length === 0) return text;
      atStart = false;
      // SentencePiece drops the space of the first word; `decode` of the id alone tells whether this tokenizer does.
      const isDropped = text.startsWith(" ") && !tokenizer.decode([id], { special: true }).startsWith(" ");
      return isDropped ? text.slice(1) : text;
    },
    flush() {
      const rest = decoder.decode();
      decoder = new TextDecoder("utf-8", { ignoreBOM: true });
      atStart = true;
      return rest;
    },
  };
}
