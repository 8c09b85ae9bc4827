import { InputError, type Problem } from "../errors.ts";
import type { BaseModel } from "../models/base.ts";
import { type VirtualLayout, virtualCount, virtualPrompt } from "../peft/virtual-tokens.ts";
import { answerLeadIn, type EncodedPrompt, encodePrompt } from "../text/chat-encode.ts";
import { contentLength, type Message, type RenderOptions } from "../text/messages.ts";
import { encodeRaw } from "../text/raw.ts";
import { createStreamDecoder } from "../text/stream-decoder.ts";
import { textOf } from "./continuation.ts";
import type { Decoder } from "./decoder.ts";
import { createLeadIn } from "./lead-in.ts";
import { createSampler, type Sampler, type SamplingOptions } from "./sampling.ts";
import { createStopWatch, type StopWatch } from "./stops.ts";

/** What to continue, and how. `messages` go through the chat template; `prompt` is one user message, or plain text if `raw`.
 *  Greedy unless a temperature is given. */
export interface GenerateRequest extends SamplingOptions {
  readonly messages?: readonly Message[];
  readonly prompt?: string;
  readonly raw?: boolean;
  /** Descriptions of tools that the model may call, for templates that list them. */
  readonly tools?: readonly unknown[];
  /** More variables of the chat template, e.g. `enable_thinking`, over those of the model. */
  readonly templateArgs?: Readonly<Record<string, unknown>>;
  /** Default 256. What the template writes in front of an answer, if the model writes it, does not count. */
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

interface Asked extends EncodedPrompt {
  /** What the model may write in front of the answer. */
  readonly leadIn: string;
}

function promptOf(base: BaseModel, request: GenerateRequest, problems: Problem[]): Asked | null {
  const { messages, prompt, raw = false, tools, templateArgs } = request;
  const wrong = (where: string, message: string): null => {
    problems.push({ where, message });
    return null;
  };
  if ((messages === undefined) === (prompt === undefined))
    return wrong("messages, prompt", "expected one of the two");
  if (raw && messages) return wrong("raw", "continues a prompt; messages need the chat template");
  if (messages?.length === 0) return wrong("messages", "is empty: there is nothing to answer");
  const ofTemplate = Object.entries({ tools, templateArgs }).filter(([, value]) => value !== undefined);
  if (ofTemplate.length > 0 && (raw || base.template === null))
    return wrong(ofTemplate.map(([name]) => name).join(", "), "needs the chat template");
  if (prompt !== undefined && raw) {
    const ids = encodeRaw(base.tokenizer, prompt);
    return { ids, answerStart: ids.length, leadIn: "" };
  }
  const asked = messages ?? [{ role: "user" as const, content: prompt as string }];
  const options: RenderOptions = {
    ...(tools ? { tools } : {}),
    ...(templateArgs ? { extra: templateArgs } : {}),
  };
  return { ...encodePrompt(base, asked, options), leadIn: answerLeadIn(base, asked, options) };
}

/** Texts that cannot fit are refused before their tokens are counted. */
function tooLongProblems(
  { tokenizer }: BaseModel,
  { prompt, messages = [] }: GenerateRequest,
  contextLength: number,
): Problem[] {
  const length = (prompt?.length ?? 0) + contentLength(messages);
  const limit = contextLength * tokenizer.longestToken;
  if (length <= limit) return [];
  const [characters, most] = [length, limit].map((n) => n.toLocaleString("en"));
  const message = `is ${characters} characters long; a context of ${contextLength} tokens holds at most ${most}`;
  return [{ where: "prompt", message }];
}

function lengthProblems(promptTokens: number, contextLength: number): Problem[] {
  if (promptTokens === 0) return [{ where: "prompt", message: "is empty: there is nothing to continue" }];
  if (promptTokens < contextLength) return [];
  const message = `has ${promptTokens} tokens, which leaves no room in the context of ${contextLength}`;
  return [{ where: "prompt", message }];
}

interface Prepared {
  readonly prompt: Asked;
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
  problems.push(...tooLongProblems(base, request, contextLength));
  const prompt = problems.length > 0 ? null : collecting(problems, () => promptOf(base, request, problems));
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
  return { prompt, sampler, watch, limit: maxTokens };
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
  /** Text that was held back in case it belonged to a stop text; once, when it is over. */
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
  const text = createStreamDecoder(base.tokenizer);
  const lead = createLeadIn(prompt.leadIn);
  const history = [...prompt.ids];
  const ids: number[] = [];
  let whole = "";
  let finishReason: GenerateResult["finishReason"] | null = null;

  const take = (id: number): GeneratedPiece => {
    ids.push(id);
    history.push(id);
    const shown = lead.push(text.push(id));
    // It was no lead-in after all, and that showed only beyond the limit.
    const isOver = lead.skipped === 0 && ids.length > limit;
    if (isOver) ids.length = limit;
    const piece = watch.push(isOver ? textOf(base.tokenizer, ids) : shown);
    whole += piece;
    if (watch.stopped !== null) finishReason = "stop";
    else if (ids.length - lead.skipped >= limit || history.length >= room) finishReason = "length";
    return { text: piece, id };
  };

  return {
    prompt: virtualPrompt(prompt.ids, virtual, prompt.answerStart),
    get finishReason() {
      return finishReason;
    },
    push: (logits) => {
      const id = sampler.next(logits, history);
      if (!watch.isStopId(id)) return take(id);
      finishReason = "end";
      return null;
    },
    abort: () => {
      finishReason ??= "aborted";
    },
    flush: () => {
      const rest = watch.push(lead.push(text.flush()) + lead.flush()) + watch.flush();
      whole += rest;
      return rest === "" ? null : { text: rest, id: ids.at(-1) as number };
    },
    result: () => ({
      text: whole,
      ids: ids.slice(lead.skipped),
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
