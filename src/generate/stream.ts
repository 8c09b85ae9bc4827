import { InputError, type Problem } from "../errors.ts";
import type { BaseModel } from "../models/base-model.ts";
import { type VirtualLayout, virtualCount, virtualPrompt } from "../peft/virtual-tokens.ts";
import type { Message } from "../text/messages.ts";
import { createStreamDecoder } from "../text/stream-decoder.ts";
import type { Decoder } from "./decoder.ts";
import { chatPrompt, type EncodedPrompt, rawPrompt } from "./prompt.ts";
import { createSampler, type Sampler, type SamplingOptions } from "./sampling.ts";
import { createStopWatch, type StopWatch } from "./stops.ts";

/** What to continue, and how. `messages` go through the chat template; `prompt` is one user message, or plain text if `raw`.
 *  Greedy unless a temperature is given. */
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

/** Result of `make`; what an InputError says goes to `problems`, and the result is null. */
function collecting<T>(problems: Problem[], make: () => T): T | null {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    problems.push(...error.problems);
    return null;
  }
}

function promptOf(base: BaseModel, request: GenerateRequest, problems: Problem[]): EncodedPrompt | null {
  const { messages, prompt, raw = false } = request;
  const wrong = (where: string, message: string): null => {
    problems.push({ where, message });
    return null;
  };
  if ((messages === undefined) === (prompt === undefined))
    return wrong("messages, prompt", "expected one of the two");
  if (raw && messages) return wrong("raw", "continues a prompt; messages need the chat template");
  if (messages?.length === 0) return wrong("messages", "is empty: there is nothing to answer");
  if (prompt !== undefined && raw) return rawPrompt(base, prompt);
  return chatPrompt(base, messages ?? [{ role: "user", content: prompt as string }]);
}

function lengthProblems(promptTokens: number, contextLength: number): Problem[] {
  if (promptTokens === 0) return [{ where: "prompt", message: "is empty: there is nothing to continue" }];
  if (promptTokens < contextLength) return [];
  const message = `has ${promptTokens} tokens, which leaves no room in the context of ${contextLength}`;
  return [{ where: "prompt", message }];
}

interface Prepared {
  readonly prompt: EncodedPrompt;
  readonly sampler: Sampler;
  readonly watch: StopWatch;
  readonly limit: number;
}

/** Checks a request as a whole. @throws InputError with everything that is wrong */
function prepare(base: BaseModel, request: GenerateRequest, contextLength: number): Prepared {
  const {
    maxTokens = DEFAULT_MAX_TOKENS,
    temperature = 0,
    topK,
    topP,
    minP,
    repetitionPenalty,
    seed,
  } = request;
  const problems: Problem[] = [];
  const prompt = collecting(problems, () => promptOf(base, request, problems));
  if (prompt) problems.push(...lengthProblems(prompt.ids.length, contextLength));
  if (!Number.isInteger(maxTokens) || maxTokens < 1)
    problems.push({ where: "maxTokens", message: `expected a whole number from 1, got ${maxTokens}` });
  const given = Object.entries({ topK, topP, minP, repetitionPenalty, seed }).filter(
    ([, v]) => v !== undefined,
  );
  const sampler = collecting(problems, () => createSampler({ temperature, ...Object.fromEntries(given) }));
  const watch = collecting(problems, () =>
    createStopWatch({ ids: base.eosIds, strings: request.stop ?? [] }),
  );
  if (problems.length > 0 || !prompt || !sampler || !watch)
    throw new InputError("the request cannot be generated from", problems);
  return { prompt, sampler, watch, limit: Math.min(maxTokens, contextLength - prompt.ids.length) };
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
  const started = performance.now();
  const { signal } = request;
  const { prompt, sampler, watch, limit } = prepare(base, request, contextLength - virtualCount(virtual));
  const text = createStreamDecoder(base.tokenizer);
  const history = [...prompt.ids];
  const ids: number[] = [];
  let whole = "";
  let finishReason: GenerateResult["finishReason"] = "length";

  while (ids.length < limit) {
    if (signal?.aborted) {
      finishReason = "aborted";
      break;
    }
    const last = ids.at(-1);
    const [logits] =
      last === undefined
        ? await decoder.start([virtualPrompt(prompt.ids, virtual, prompt.answerStart)])
        : await decoder.next([last]);
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
    if (watch.stopped !== null) break;
  }
  const rest = watch.push(text.flush()) + watch.flush();
  whole += rest;
  if (rest !== "") yield { text: rest, id: ids.at(-1) as number };
  return {
    text: whole,
    ids,
    finishReason: watch.stopped === null ? finishReason : "stop",
    promptTokens: prompt.ids.length,
    elapsedMs: performance.now() - started,
  };
}
