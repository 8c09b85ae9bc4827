import { randomInt } from "node:crypto";
import { z } from "zod";
import type { EngineRequest } from "../generate/engine/engine.ts";

/** Most answers to one request. */
export const MAX_CHOICES = 16;
const MAX_STOPS = 16;
const MAX_STOP_LENGTH = 1000;
const MAX_BIASES = 1024;
/** Leaves room for the choices of a request, each of which has the next seed. */
const MAX_SEED = 2 ** 48;

export const NOT_YET = "is not supported yet; leave it out";

/** A field of a body: null is as good as nothing. */
export type Optional<T> = T | null | undefined;

/** A schema for every field of a body. */
export type FieldsOf<T> = { readonly [K in keyof T]-?: z.ZodType<T[K]> };

/** An option of OpenAI's that is understood and has no effect yet: only values that ask for none are taken. */
export function withoutEffect<T>(
  type: z.ZodType<T>,
  isNeutral: (value: T) => boolean,
  why: string = NOT_YET,
): z.ZodType<Optional<T>> {
  return type
    .nullish()
    .refine((value) => value === null || value === undefined || isNeutral(value as T), why);
}

/** How tokens are chosen, by OpenAI's names and vLLM's for what OpenAI lacks. */
export interface SamplingBody {
  readonly temperature?: Optional<number>;
  readonly top_p?: Optional<number>;
  readonly top_k?: Optional<number>;
  readonly min_p?: Optional<number>;
  readonly repetition_penalty?: Optional<number>;
  readonly frequency_penalty?: Optional<number>;
  readonly presence_penalty?: Optional<number>;
  readonly logit_bias?: Optional<Record<string, number>>;
  readonly seed?: Optional<number>;
  readonly stop?: Optional<string | readonly string[]>;
}

const stop = z.string().min(1).max(MAX_STOP_LENGTH);

export const samplingFields: FieldsOf<SamplingBody> = {
  temperature: z.number().min(0).max(100).nullish().describe("default 1; 0: the most likely token"),
  top_p: z.number().gt(0).max(1).nullish().describe("default 1: all tokens"),
  top_k: z.int().min(-1).max(1e9).nullish().describe("default 0 (or -1): all tokens"),
  min_p: z.number().min(0).max(1).nullish().describe("default 0"),
  repetition_penalty: z.number().gt(0).max(100).nullish().describe("default 1: none"),
  frequency_penalty: z.number().min(-2).max(2).nullish().describe("default 0"),
  presence_penalty: z.number().min(-2).max(2).nullish().describe("default 0"),
  logit_bias: z
    .record(z.string().regex(/^\d{1,9}$/, "expected token ids"), z.number().min(-100).max(100))
    .refine((bias) => Object.keys(bias).length <= MAX_BIASES, `expected at most ${MAX_BIASES} tokens`)
    .nullish()
    .describe("added to the logits of tokens, by id"),
  seed: z.int().min(0).max(MAX_SEED).nullish().describe("default: another one for every request"),
  stop: z
    .union([stop, z.array(stop).max(MAX_STOPS)])
    .nullish()
    .describe("texts that end an answer; not part of it"),
};

/** Number of answers to a prompt. */
export const choiceCount: z.ZodType<Optional<number>> = z
  .int()
  .min(1)
  .max(MAX_CHOICES)
  .nullish()
  .describe("answers to a prompt; default 1");

/** Fields that say nothing of the answer. */
export interface SideBody {
  readonly user?: Optional<string>;
  readonly metadata?: Optional<Record<string, string>>;
  readonly safety_identifier?: Optional<string>;
  readonly prompt_cache_key?: Optional<string>;
  readonly service_tier?: Optional<string>;
}

export const sideFields: FieldsOf<SideBody> = {
  user: z.string().max(1000).nullish().describe("without effect"),
  metadata: z.record(z.string().max(64), z.string().max(512)).nullish().describe("without effect"),
  safety_identifier: z.string().max(1000).nullish().describe("without effect"),
  prompt_cache_key: z.string().max(1000).nullish().describe("without effect"),
  service_tier: withoutEffect(z.string(), (tier) => tier === "auto" || tier === "default"),
};

/** Whether an answer is streamed, and how. */
export interface StreamBody {
  readonly stream?: Optional<boolean>;
  readonly stream_options?: Optional<{ readonly include_usage?: Optional<boolean> }>;
}

export const streamFields: FieldsOf<StreamBody> = {
  stream: z.boolean().nullish().describe("default false"),
  stream_options: z
    .strictObject({
      include_usage: z.boolean().nullish(),
      include_obfuscation: withoutEffect(z.boolean(), (x) => !x),
    })
    .nullish(),
};

/** Says where options of a stream are given for an answer that is none. */
export function checkStream({ stream, stream_options }: StreamBody, context: z.RefinementCtx): void {
  if (!stream && stream_options !== null && stream_options !== undefined)
    context.addIssue({ code: "custom", path: ["stream_options"], message: "needs stream: true" });
}

type Given<T> = { [K in keyof T]?: Exclude<T[K], null | undefined> };

/** An object without its fields that are null or undefined. */
function given<T extends object>(fields: T): Given<T> {
  return Object.fromEntries(
    Object.entries(fields).filter(([, v]) => v !== null && v !== undefined),
  ) as Given<T>;
}

/** The n requests of one prompt: alike but for the seed. OpenAI's temperature is 1 unless one is given, and answers without a seed
 *  differ from request to request. */
export function requestsOf(
  body: SamplingBody & { readonly n?: Optional<number> },
  asked: EngineRequest,
): EngineRequest[] {
  const seed = body.seed ?? randomInt(MAX_SEED - 1);
  const stops = typeof body.stop === "string" ? [body.stop] : body.stop;
  const topK = body.top_k === -1 ? 0 : body.top_k;
  const options = given({
    topK,
    topP: body.top_p,
    minP: body.min_p,
    repetitionPenalty: body.repetition_penalty,
    frequencyPenalty: body.frequency_penalty,
    presencePenalty: body.presence_penalty,
    logitBias: body.logit_bias,
    stop: stops,
  });
  const request = { ...asked, ...options, temperature: body.temperature ?? 1 };
  return Array.from({ length: body.n ?? 1 }, (_, k) => ({ ...request, seed: seed + k }));
}
