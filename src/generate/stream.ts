import { RuntimeError, UnsupportedError } from "../errors.ts";
import type { BaseModel } from "../models/base.ts";
import { type VirtualLayout, virtualCount, virtualPrompt } from "../peft/virtual-tokens.ts";
import { createStreamDecoder } from "../text/stream-decoder.ts";
import { readToolCalls } from "../text/tool-calls.ts";
import { answered } from "./answering.ts";
import { textOf } from "./continuation.ts";
import type { CreateGrammar, Grammar } from "./grammar.ts";
import type { Lane } from "./lane.ts";
import { createLeadIn } from "./lead-in.ts";
import { type ChosenLogprob, chosenLogprob } from "./logprobs.ts";
import { heldTo, prepare } from "./prepare.ts";
import type { Continuation, GeneratedPiece, GenerateRequest, GenerateResult } from "./request.ts";

export type { Continuation, GeneratedPiece, GenerateRequest, GenerateResult };

/** What a continuation may take, and what it is held by. */
export interface ContinuationRoom {
  /** Tokens. */
  readonly contextLength: number;
  readonly virtual: VirtualLayout;
  /** null: answers are held to no form here. */
  readonly createGrammar: CreateGrammar | null;
}

/** A request as a continuation to feed, with the grammar that its answer is held to. @throws as `continuationOf` */
export async function openContinuation(
  base: BaseModel,
  request: GenerateRequest,
  { contextLength, virtual, createGrammar }: ContinuationRoom,
): Promise<Continuation> {
  const { form, problems } = heldTo(base, request);
  const { tokenizer, eosIds, config } = base;
  const model = { tokenizer, vocabSize: config.vocabSize, eosIds, shown: shownTokens(base, request) };
  const isHeld = form !== null && problems.length === 0;
  if (isHeld && createGrammar === null)
    throw new UnsupportedError(
      "answers cannot be held to a form here: leave out responseFormat and required tools",
    );
  const grammar = isHeld && createGrammar ? await createGrammar(form, model, request.signal) : null;
  try {
    return continuationOf(base, request, contextLength, virtual, grammar);
  } catch (error) {
    grammar?.end();
    throw error;
  }
}

/** Special tokens that stay in the text: those of calls, where there are tools. */
function shownTokens({ template }: BaseModel, { tools }: GenerateRequest): readonly string[] {
  return tools ? (template?.toolCalls?.tokens ?? []) : [];
}

/** Says when an answer of one call is complete. */
function firstCallWatch({ template }: BaseModel, request: GenerateRequest): (text: string) => boolean {
  const form = request.tools && request.parallelToolCalls === false ? template?.toolCalls : null;
  if (!form) return () => false;
  const reader = readToolCalls(form);
  return (text) => reader.push(text).some((part) => "call" in part);
}

/** A request as a continuation to feed. Ends at an end token, a stop text, `maxTokens`, or a full context. `grammar`: what its
 *  answer is held to (`openContinuation` makes it).
 *  @throws InputError with everything that is wrong in the request */
export function continuationOf(
  base: BaseModel,
  request: GenerateRequest,
  contextLength: number,
  virtual: VirtualLayout,
  grammar: Grammar | null = null,
): Continuation {
  const started = performance.now();
  const room = contextLength - virtualCount(virtual);
  const { prompt, sampler, watch, limit } = prepare(base, request, room);
  if (heldTo(base, request).form !== null && grammar === null)
    throw new RuntimeError("a held answer needs its grammar: open the continuation with openContinuation");
  const text = createStreamDecoder(base.tokenizer, { shown: shownTokens(base, request) });
  const isCalled = firstCallWatch(base, request);
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
    else if (isCalled(piece)) finishReason = "end";
    else if (isFull) finishReason = "length";
    return result;
  };

  return {
    prompt: virtualPrompt(prompt.ids, virtual, prompt.answerStart),
    get finishReason() {
      return finishReason;
    },
    get waits() {
      return grammar?.waits ?? null;
    },
    push: (logits) => {
      const id = sampler.next(logits, history, prompt.ids.length, grammar?.mask());
      if (!watch.isStopId(id)) {
        grammar?.accept(id);
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
      grammar?.end();
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
  lane: Lane,
  base: BaseModel,
  request: GenerateRequest,
  room: ContinuationRoom,
): AsyncGenerator<GeneratedPiece, GenerateResult> {
  const one = await openContinuation(base, request, room);
  for await (const piece of answered(lane, one, request.signal))
    if (piece.text !== "" || piece.logprobs) yield piece;
  if (one.finishReason === null) one.abort();
  const rest = one.flush();
  if (rest) yield rest;
  return one.result();
}
