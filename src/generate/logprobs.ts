import { topIndex, topIndices } from "../tensor/top-index.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

/** Most likely tokens that may be asked for beside the one chosen: OpenAI's limit. */
export const MAX_LOGPROBS = 20;

/** A token and how likely it was. */
export interface TokenLogprob {
  readonly id: number;
  /** Natural logarithm of its probability by the model's own distribution. */
  readonly logprob: number;
  /** Its text; U+FFFD for bytes that are no whole character. Special tokens are written out. */
  readonly text: string;
  /** Its UTF-8 bytes: a character may be spread over several tokens. */
  readonly bytes: Uint8Array;
}

/** A token that was chosen, and the most likely ones in its place. */
export interface ChosenLogprob extends TokenLogprob {
  /** Most likely first; the chosen token is among them only where it is one of them. */
  readonly top: readonly TokenLogprob[];
}

/** Log-probability of a token, and of the `count` most likely ones: log-softmax of logits [vocab] as the model gave them, before
 *  penalties, temperature and the rest, as OpenAI and vLLM (its default) have it. */
export function logprobsOf(
  logits: Float32Array,
  id: number,
  count: number,
): { readonly logprob: number; readonly top: readonly { readonly id: number; readonly logprob: number }[] } {
  const max = logits[topIndex(logits)] as number;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp((logits[i] as number) - max);
  const norm = max + Math.log(sum);
  const logprob = (i: number): number => (logits[i] as number) - norm;
  return {
    logprob: logprob(id),
    top: topIndices(logits, count).map((i) => ({ id: i, logprob: logprob(i) })),
  };
}

/** `logprobsOf` with the texts of the tokens. */
export function chosenLogprob(
  tokenizer: Tokenizer,
  logits: Float32Array,
  id: number,
  count: number,
): ChosenLogprob {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const told = (token: number, logprob: number): TokenLogprob => {
    const bytes = tokenizer.tokenBytes(token);
    return { id: token, logprob, text: decoder.decode(bytes), bytes };
  };
  const { logprob, top } = logprobsOf(logits, id, count);
  return { ...told(id, logprob), top: top.map((one) => told(one.id, one.logprob)) };
}
