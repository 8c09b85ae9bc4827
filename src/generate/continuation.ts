import { createStreamDecoder } from "../text/stream-decoder.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Decoder } from "./decoder.ts";

/** Chooses a token from logits [V], given the tokens so far. */
export type NextToken = (logits: Float32Array, history: readonly number[]) => number;

/** The most likely token; of equals the lowest id. */
export const greedy: NextToken = (logits) => {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if ((logits[i] as number) > (logits[best] as number)) best = i;
  return best;
};

/** Greedy continuations of several prompts side by side, each up to an end token or `maxTokens`: [prompt] → ids without the
 *  end token. */
export async function continueAll(
  decoder: Decoder,
  prompts: readonly (readonly number[])[],
  eosIds: readonly number[],
  maxTokens: number,
  signal?: AbortSignal,
): Promise<number[][]> {
  const outputs: number[][] = prompts.map(() => []);
  const open = new Set(prompts.keys());
  let logits = await decoder.start(prompts);
  for (let n = 0; n < maxTokens && open.size > 0; n++) {
    signal?.throwIfAborted();
    const tokens = logits.map((row) => greedy(row, []));
    tokens.forEach((id, r) => {
      if (eosIds.includes(id)) open.delete(r);
      if (open.has(r)) (outputs[r] as number[]).push(id);
    });
    if (open.size > 0 && n + 1 < maxTokens) logits = await decoder.next(tokens);
  }
  return outputs;
}

/** Text of ids, special tokens left out. */
export function textOf(tokenizer: Tokenizer, ids: readonly number[]): string {
  const decoder = createStreamDecoder(tokenizer);
  return ids.map((id) => decoder.push(id)).join("") + decoder.flush();
}
