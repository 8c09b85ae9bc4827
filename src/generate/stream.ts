import { InputError } from "../errors.ts";
import type { BaseModel } from "../models/base-model.ts";
import type { Message } from "../text/messages.ts";
import { createStreamDecoder } from "../text/stream-decoder.ts";
import type { Decoder } from "./decoder.ts";
import { promptIds, rawIds } from "./prompt.ts";
import { createSampler, type SamplingOptions } from "./sampling.ts";
import { createStopWatch } from "./stops.ts";

/** What to continue, and how. `messages` go through the chat template; `prompt` is one user message, or plain text if `raw`. */
export interface GenerateRequest extends SamplingOptions {
  readonly messages?: readonly Message[];
  readonly prompt?: string;
  readonly raw?: boolean;
  /** Default 256. */
  readonly maxTokens?: number;
  /** Texts that end the continuation; they are not part of it. */
  readonly stop?: readonly string[];
  readonly signal?: AbortSignal;
}

/** A piece of the continuation, whole characters only. */
export interface GeneratedPiece {
  readonly text: string;
  readonly id: number;
}

/** A finished continuation. */
export interface GenerateResult {
  readonly text: string;
  /** Ids of the continuation, end token left out. */
  readonly ids: readonly number[];
  readonly finishReason: "end" | "stop" | "length" | "aborted";
  readonly promptTokens: number;
  readonly elapsedMs: number;
}

const DEFAULT_MAX_TOKENS = 256;

function idsOf(base: BaseModel, request: GenerateRequest): number[] {
  const { messages, prompt, raw = false } = request;
  if ((messages === undefined) === (prompt === undefined))
    throw new InputError("the request cannot be generated from", [
      { where: "messages, prompt", message: "expected one of the two" },
    ]);
  if (raw && prompt !== undefined) return rawIds(base, prompt);
  return promptIds(base, messages ?? [{ role: "user", content: prompt as string }]);
}

function checkRequest(request: GenerateRequest, promptTokens: number, room: number): void {
  const { maxTokens = DEFAULT_MAX_TOKENS } = request;
  const problems = [];
  if (!Number.isInteger(maxTokens) || maxTokens < 1)
    problems.push({ where: "maxTokens", message: `expected a whole number from 1, got ${maxTokens}` });
  if (promptTokens === 0)
    problems.push({ where: "prompt", message: "is empty: there is nothing to continue" });
  if (room < 1)
    problems.push({
      where: "prompt",
      message: `has ${promptTokens} tokens, the context only ${promptTokens + room}`,
    });
  if (problems.length > 0) throw new InputError("the request cannot be generated from", problems);
}

/** Continues a prompt token by token: greedy unless a temperature is given. Ends at an end token, a stop text, `maxTokens` or
 *  a full context. @throws InputError listing what is wrong with the request */
export async function* generateWith(
  decoder: Decoder,
  base: BaseModel,
  request: GenerateRequest,
  contextLength: number,
): AsyncGenerator<GeneratedPiece, GenerateResult> {
  const started = performance.now();
  const prompt = idsOf(base, request);
  checkRequest(request, prompt.length, contextLength - prompt.length);
  const { temperature = 0, topK, topP, minP, repetitionPenalty, seed, stop = [], signal } = request;
  const given = Object.entries({ topK, topP, minP, repetitionPenalty, seed }).filter(
    ([, v]) => v !== undefined,
  );
  const sampler = createSampler({ temperature, ...Object.fromEntries(given) });
  const watch = createStopWatch({ ids: base.eosIds, strings: stop });
  const text = createStreamDecoder(base.tokenizer);
  const limit = Math.min(request.maxTokens ?? DEFAULT_MAX_TOKENS, contextLength - prompt.length);
  const history = [...prompt];
  const ids: number[] = [];
  let whole = "";
  let finishReason: GenerateResult["finishReason"] = "length";
  let [logits] = await decoder.start([prompt]);

  while (ids.length < limit) {
    if (signal?.aborted) {
      finishReason = "aborted";
      break;
    }
    const id = sampler.next(logits as Float32Array, history);
    if (watch.isStopId(id)) {
      finishReason = "end";
      break;
    }
    ids.push(id);
    history.push(id);
    const piece = watch.push(text.push(id));
    whole += piece;
    if (piece !== "") yield { text: piece, id };
    if (watch.stopped !== null) {
      finishReason = "stop";
      break;
    }
    if (ids.length < limit) [logits] = await decoder.next([id]);
  }
  if (watch.stopped === null) {
    const rest = watch.push(text.flush()) + watch.flush();
    whole += rest;
    if (rest !== "") yield { text: rest, id: ids.at(-1) ?? -1 };
  }
  return {
    text: whole,
    ids,
    finishReason,
    promptTokens: prompt.length,
    elapsedMs: performance.now() - started,
  };
}
