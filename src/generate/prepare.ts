import { ContextError, InputError, type Problem } from "../errors.ts";
import type { BaseModel } from "../models/base.ts";
import { answerLeadIn, type EncodedPrompt, encodePrompt } from "../text/chat-encode.ts";
import { contentLength, type RenderOptions } from "../text/messages.ts";
import { encodeRaw } from "../text/raw.ts";
import { type HeldAnswer, heldAnswer } from "./held-answer.ts";
import { MAX_LOGPROBS } from "./logprobs.ts";
import type { GenerateRequest } from "./request.ts";
import { createSampler, type Sampler, type SamplingOptions } from "./sampling.ts";
import { createStopWatch, type StopWatch } from "./stops.ts";

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

/** A prompt in tokens. */
export interface Asked extends EncodedPrompt {
  /** What the model may write in front of the answer. */
  readonly leadIn: string;
}

function promptOf(base: BaseModel, request: GenerateRequest, problems: Problem[]): Asked | null {
  const { messages, prompt, promptIds, raw = false, tools, templateArgs } = request;
  const wrong = (where: string, message: string): null => {
    problems.push({ where, message });
    return null;
  };
  const given = [messages, prompt, promptIds].filter((one) => one !== undefined);
  if (given.length !== 1) return wrong("messages, prompt", "expected one of the two, or promptIds");
  if (raw && messages) return wrong("raw", "continues a prompt; messages need the chat template");
  if (messages?.length === 0) return wrong("messages", "is empty: there is nothing to answer");
  const ofTemplate = Object.entries({ tools, templateArgs }).filter(([, value]) => value !== undefined);
  if (ofTemplate.length > 0 && (raw || promptIds !== undefined || base.template === null))
    return wrong(ofTemplate.map(([name]) => name).join(", "), "needs the chat template");
  if (promptIds !== undefined) {
    problems.push(...idProblems(promptIds, base.config.vocabSize));
    return { ids: promptIds, answerStart: promptIds.length, leadIn: "" };
  }
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

/** The first id that the model does not have. */
function idProblems(ids: readonly number[], vocabSize: number): Problem[] {
  const at = ids.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
  if (at < 0) return [];
  const message = `the model has tokens 0 to ${vocabSize - 1}, got ${ids[at]}`;
  return [{ where: `prompt[${at}]`, message }];
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
  if (promptTokens < contextLength) return [];
  const message = `has ${promptTokens} tokens, which leaves no room in the context of ${contextLength}`;
  return [{ where: "prompt", message }];
}

/** A request, checked. */
export interface Prepared {
  readonly prompt: Asked;
  readonly sampler: Sampler;
  readonly watch: StopWatch;
  /** Most tokens of the answer. */
  readonly limit: number;
}

/** Checks a request as a whole. @throws InputError with everything that is wrong */
export function prepare(base: BaseModel, request: GenerateRequest, contextLength: number): Prepared {
  const { maxTokens = DEFAULT_MAX_TOKENS } = request;
  const problems: Problem[] = [];
  const overflow = tooLongProblems(base, request, contextLength);
  const prompt = overflow.length > 0 ? null : collecting(problems, () => promptOf(base, request, problems));
  if (prompt?.ids.length === 0)
    problems.push({ where: "prompt", message: "is empty: there is nothing to continue" });
  if (prompt) overflow.push(...lengthProblems(prompt.ids.length, contextLength));
  if (!Number.isInteger(maxTokens) || maxTokens < 1)
    problems.push({ where: "maxTokens", message: `expected a whole number from 1, got ${maxTokens}` });
  problems.push(
    ...heldTo(base, request).problems,
    ...logprobProblems(request),
    ...biasProblems(request, base.config.vocabSize),
  );
  const sampler = collecting(problems, () => createSampler(samplingOf(request)));
  const watch = collecting(problems, () =>
    createStopWatch({ ids: base.eosIds, strings: request.stop ?? [] }),
  );
  const title = "the request cannot be generated from";
  if (overflow.length > 0) throw new ContextError(title, [...overflow, ...problems], contextLength);
  if (problems.length > 0 || !prompt || !sampler || !watch) throw new InputError(title, problems);
  return { prompt, sampler, watch, limit: maxTokens };
}

/** The options of sampling that a request gives; greedy unless it gives a temperature. */
function samplingOf(request: GenerateRequest): SamplingOptions {
  const { temperature = 0, topK, topP, minP, repetitionPenalty, seed } = request;
  const { frequencyPenalty, presencePenalty, logitBias } = request;
  const penalties = { repetitionPenalty, frequencyPenalty, presencePenalty, logitBias };
  const given = Object.entries({ topK, topP, minP, seed, ...penalties }).filter(([, v]) => v !== undefined);
  return { temperature, ...Object.fromEntries(given) };
}

/** What an answer by this model is held to. */
export function heldTo({ template }: BaseModel, request: GenerateRequest): HeldAnswer {
  return heldAnswer(request, template?.toolCalls ?? null);
}

function logprobProblems({ logprobs }: GenerateRequest): Problem[] {
  if (logprobs === undefined) return [];
  if (Number.isInteger(logprobs) && logprobs >= 0 && logprobs <= MAX_LOGPROBS) return [];
  const message = `expected a whole number from 0 to ${MAX_LOGPROBS}, got ${logprobs}`;
  return [{ where: "logprobs", message }];
}

/** Biases of tokens that the model does not have; what else may be wrong in them the sampler says. */
function biasProblems({ logitBias = {} }: GenerateRequest, vocabSize: number): Problem[] {
  const unknown = Object.keys(logitBias).filter((id) => Number(id) >= vocabSize);
  if (unknown.length === 0) return [];
  const message = `the model has tokens 0 to ${vocabSize - 1}, got ${unknown.join(", ")}`;
  return [{ where: "logitBias", message }];
}
