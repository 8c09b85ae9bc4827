import type { TokenizerSource } from "../model.ts";

/** Tokens that end a turn in the chat templates in use; they count where the model's own template writes them. */
const TURN_ENDS: readonly string[] = [
  "<|im_end|>",
  "<|eot_id|>",
  "<end_of_turn>",
  "<|end|>",
  "<|end_of_turn|>",
];

/** One entry of tokenizer.json's `added_tokens`, as far as it matters here. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
}

/** `added_tokens` of a tokenizer.json; malformed entries are left out. */
export function addedTokens(tokenizerJson: Readonly<Record<string, unknown>>): AddedToken[] {
  const list = tokenizerJson.added_tokens;
  if (!Array.isArray(list)) return [];
  return list.filter(
    (token): token is AddedToken =>
      typeof token === "object" &&
      token !== null &&
      Number.isInteger(token.id) &&
      typeof token.content === "string",
  );
}

/** Ids that end generation, ascending: those `declared` (numbers or lists of them, other values are left out), the
 *  tokenizer's EOS, and the end-of-turn tokens of its chat template. */
export function stopIds(declared: readonly unknown[], tokenizer: TokenizerSource): number[] {
  const ids = declared.flat().filter((id): id is number => Number.isSafeInteger(id) && (id as number) >= 0);
  const texts = new Set(TURN_ENDS.filter((text) => tokenizer.chatTemplate?.includes(text)));
  if (tokenizer.eosToken !== null) texts.add(tokenizer.eosToken);
  for (const { id, content } of addedTokens(tokenizer.tokenizerJson)) if (texts.has(content)) ids.push(id);
  return [...new Set(ids)].sort((a, b) => a - b);
}
