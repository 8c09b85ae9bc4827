import { topIndex } from "../tensor/top-index.ts";
import { createStreamDecoder } from "../text/stream-decoder.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { laneOf } from "./answering.ts";
import type { Decoder } from "./decoder.ts";
import type { Fed } from "./lane.ts";

/** How several prompts are continued. */
export interface ContinueOptions {
  readonly eosIds: readonly number[];
  /** Most tokens of each. */
  readonly maxTokens: number;
  /** Most tokens of a prompt and its continuation; default: no bound. */
  readonly room?: number;
  /** Prompts side by side; default: all. */
  readonly rows?: number;
  readonly signal?: AbortSignal | undefined;
  /** Called with the number of those that are done. */
  readonly onDone?: ((done: number) => void) | undefined;
}

/** Greedy continuations, each up to an end token or `maxTokens`: [prompt] → ids without the end token. A prompt takes the place of one
 *  that is done. */
export async function continueAll(
  decoder: Decoder,
  prompts: readonly (readonly number[])[],
  {
    eosIds,
    maxTokens,
    room = Number.POSITIVE_INFINITY,
    rows = prompts.length,
    signal,
    onDone,
  }: ContinueOptions,
): Promise<number[][]> {
  const lane = laneOf(decoder, rows, 0);
  const outputs: number[][] = prompts.map(() => []);
  const failures: unknown[] = [];
  let done = 0;
  let next = 0;
  try {
    while (next < prompts.length || lane.running > 0) {
      signal?.throwIfAborted();
      for (; next < prompts.length && lane.running < rows; next++) {
        const prompt = prompts[next] as readonly number[];
        const most = Math.min(maxTokens, room - prompt.length);
        if (most < 1) {
          onDone?.(++done);
          continue;
        }
        await lane.admit({
          continuation: greedyOn(prompt, outputs[next] as number[], { eosIds, maxTokens: most }),
          voice: "",
          isCancelled: false,
          give: () => undefined,
          end: (error) => {
            if (error !== undefined) failures.push(error);
            onDone?.(++done);
          },
        });
      }
      await lane.step();
      if (failures.length > 0) throw failures[0];
    }
    return outputs;
  } finally {
    await lane.clear();
  }
}

/** Takes the most likely token each time, and adds it to `ids`. */
function greedyOn(
  prompt: readonly number[],
  ids: number[],
  { eosIds, maxTokens }: Pick<ContinueOptions, "eosIds" | "maxTokens">,
): Fed {
  let finishReason: Fed["finishReason"] = null;
  return {
    prompt,
    waits: null,
    get finishReason() {
      return finishReason;
    },
    push: (logits) => {
      const id = topIndex(logits);
      if (eosIds.includes(id)) {
        finishReason = "end";
        return null;
      }
      ids.push(id);
      if (ids.length >= maxTokens) finishReason = "length";
      return { text: "", id };
    },
  };
}

/** Text of ids, special tokens left out. */
export function textOf(tokenizer: Tokenizer, ids: readonly number[]): string {
  const decoder = createStreamDecoder(tokenizer);
  return ids.map((id) => decoder.push(id)).join("") + decoder.flush();
}
