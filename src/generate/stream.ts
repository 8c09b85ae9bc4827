import type { BaseModel } from "../models/base.ts";
import { type VirtualLayout, virtualCount, virtualPrompt } from "../peft/virtual-tokens.ts";
import type { Message } from "../text/messages.ts";
import { createStreamDecoder } from "../text/stream-decoder.ts";
import { textOf } from "./continuation.ts";
import type { Decoder } from "./decoder.ts";
import { createLeadIn } from "./lead-in.ts";
import { type ChosenLogprob, chosenLogprob } from "./logprobs.ts";
import { prepare } from "./prepare.ts";
import type { SamplingOptions } from "./sampling.ts";

/** What to continue, and how. `messages` go through the chat template; `prompt` is one user message, or plain text if `raw`.
 *  Greedy unless a temperature is given. */
export interface GenerateRequest extends SamplingOptions {
  readonly messages?: readonly Message[];
  readonly prompt?: string;
  readonly raw?: boolean;
  /** Descriptions of tools that the model may call, for templates that list them. What marks a call stays in the text then, even
   *  where it is a special token. */
  readonly tools?: readonly unknown[];
  /** More variables of the chat template, e.g. `enable_thinking`, over those of the model. */
  readonly templateArgs?: Readonly<Record<string, unknown>>;
  /** Default 256. What the template writes in front of an answer, if the model writes it, does not count. */
  readonly maxTokens?: number;
  /** Texts that end the continuation; they are not part of it. */
  readonly stop?: readonly string[];
  /** Log-probabilities of the answer's tokens, each with the n most likely ones in its place; 0 to 20. Default: none. */
  readonly logprobs?: number;
  readonly signal?: AbortSignal;
}

/** A piece of the continuation, whole characters only. */
export interface GeneratedPiece {
  readonly text: string;
  readonly id: number;
  /** Of every token since the last piece, where they are asked for: a piece holds several tokens where a character is spread over
   *  them, or a text was held back. All pieces together hold those of every id of the result, once and in order. */
  readonly logprobs?: readonly ChosenLogprob[];
}

/** A finished continuation. */
export interface GenerateResult {
  readonly text: string;
  /** Ids of the continuation, end token left out. */
  readonly ids: readonly number[];
  /** Of each of the ids, where they are asked for. */
  readonly logprobs?: readonly ChosenLogprob[];
  readonly finishReason: "end" | "stop" | "length" | "aborted";
  readonly promptTokens: number;
  readonly elapsedMs: number;
}

/** A continuation under way: the prompt, and then a token for each row of logits. It knows nothing of what computes them. */
export interface Continuation {
  /** Ids that the model reads first, virtual tokens among them. */
  readonly prompt: readonly number[];
  /** Why it is over; null while it goes on. */
  readonly finishReason: GenerateResult["finishReason"] | null;
  /** Takes logits [V] for the next token, which it chooses. Returns it with the text that it completes (""); null where it ends the
   *  text. @throws RuntimeError for logits that are none */
  push(logits: Float32Array): GeneratedPiece | null;
  /** Ends it before its time. */
  abort(): void;
  /** Text that was held back in case it belonged to a stop text, and log-probabilities of tokens without text; once, when it is
   *  over. */
  flush(): GeneratedPiece | null;
  /** All of it. */
  result(): GenerateResult;
}

/** A request as a continuation to feed. Ends at an end token, a stop text, `maxTokens`, or a full context.
 *  @throws InputError with everything that is wrong in the request */
export function continuationOf(
  base: BaseModel,
  request: GenerateRequest,
  contextLength: number,
  virtual: VirtualLayout,
): Continuation {
  const started = performance.now();
  const room = contextLength - virtualCount(virtual);
  const { prompt, sampler, watch, limit } = prepare(base, request, room);
  const shown = request.tools ? (base.template?.toolCalls?.tokens ?? []) : [];
  const text = createStreamDecoder(base.tokenizer, { shown });
  const lead = createLeadIn(prompt.leadIn);
  const history = [...prompt.ids];
  const ids: number[] = [];
  const logprobs: ChosenLogprob[] = [];
  let told = 0;
  let whole = "";
  let finishReason: GenerateResult["finishReason"] | null = null;

  const pieceOf = (shown: string, id: number): GeneratedPiece => {
    whole += shown;
    if (shown === "" && finishReason === null) return { text: shown, id };
    const since = logprobs.slice(Math.max(told, lead.skipped), ids.length);
    told = ids.length;
    return { text: shown, id, ...(since.length > 0 ? { logprobs: since } : {}) };
  };

  const take = (id: number): GeneratedPiece => {
    ids.push(id);
    history.push(id);
    const shown = lead.push(text.push(id));
    // It was no lead-in after all, and that showed only beyond the limit.
    const isOver = lead.skipped === 0 && ids.length > limit;
    if (isOver) ids.length = limit;
    const piece = watch.push(isOver ? textOf(base.tokenizer, ids) : shown);
    const isFull = ids.length - lead.skipped >= limit || history.length >= room;
    const result = pieceOf(piece, id);
    if (watch.stopped !== null) finishReason = "stop";
    else if (isFull) finishReason = "length";
    return result;
  };

  return {
    prompt: virtualPrompt(prompt.ids, virtual, prompt.answerStart),
    get finishReason() {
      return finishReason;
    },
    push: (logits) => {
      const id = sampler.next(logits, history, prompt.ids.length);
      if (!watch.isStopId(id)) {
        if (request.logprobs !== undefined)
          logprobs.push(chosenLogprob(base.tokenizer, logits, id, request.logprobs));
        return take(id);
      }
      finishReason = "end";
      return null;
    },
    abort: () => {
      finishReason ??= "aborted";
    },
    flush: () => {
      const rest = watch.push(lead.push(text.flush()) + lead.flush()) + watch.flush();
      const piece = pieceOf(rest, ids.at(-1) as number);
      return rest === "" && !piece.logprobs ? null : piece;
    },
    result: () => ({
      text: whole,
      ids: ids.slice(lead.skipped),
      ...(request.logprobs === undefined ? {} : { logprobs: logprobs.slice(lead.skipped, ids.length) }),
      finishReason: watch.stopped === null ? (finishReason ?? "aborted") : "stop",
      promptTokens: prompt.ids.length,
      elapsedMs: performance.now() - started,
    }),
  };
}

/** Continues a prompt token by token: greedy unless a temperature is given. Ends at an end token, a stop text, `maxTokens`, a
 *  full context, or when the signal aborts. @throws InputError with everything that is wrong in the request */
export async function* generateWith(
  decoder: Decoder,
  base: BaseModel,
  request: GenerateRequest,
  contextLength: number,
  virtual: VirtualLayout,
): AsyncGenerator<GeneratedPiece, GenerateResult> {
  const { signal } = request;
  const one = continuationOf(base, request, contextLength, virtual);
  let last: number | null = null;
  while (one.finishReason === null) {
    if (signal?.aborted) {
      one.abort();
      break;
    }
    const [logits] = last === null ? await decoder.start([one.prompt]) : await decoder.next([last]);
    const piece = one.push(logits as Float32Array);
    last = piece?.id ?? null;
    if (piece && piece.text !== "") yield piece;
  }
  const rest = one.flush();
  if (rest) yield rest;
  return one.result();
}
