import type { Tokenizer } from "./tokenizer.ts";

/** Ids of plain text: special tokens in it are special, as in transformers; BOS in front where the model expects one and the text
 *  does not begin with it. */
export function encodeRaw(tokenizer: Tokenizer, text: string): number[] {
  const ids = tokenizer.encode(text, { special: true });
  const { addBos, bosId } = tokenizer;
  return addBos && bosId !== null && ids[0] !== bosId ? [bosId, ...ids] : ids;
}
