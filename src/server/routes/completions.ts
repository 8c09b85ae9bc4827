import { randomUUID } from "node:crypto";
import { z } from "zod";
import type { EngineRequest } from "../../generate/engine/engine.ts";
import { type ChosenLogprob, MAX_LOGPROBS } from "../../generate/logprobs.ts";
import type { GenerateResult } from "../../generate/stream.ts";
import { refusal } from "../body.ts";
import { allResults, type ChoiceEvent, finishReason, startChoices, usageOf } from "../choices.ts";
import { streamFailure } from "../errors.ts";
import { eventStream, eventText } from "../event-stream.ts";
import {
  checkStream,
  choiceCount,
  MAX_CHOICES,
  requestsOf,
  samplingFields,
  sideFields,
  streamFields,
  withoutEffect,
} from "../fields.ts";
import { adaptersOf, modelFields } from "../model-names.ts";
import type { ServerParts } from "../parts.ts";
import { type RequestContext, type Route, route } from "../route.ts";
import { usage } from "./chat-schema.ts";

/** OpenAI's default of this endpoint. */
const DEFAULT_MAX_TOKENS = 16;
/** Beyond any context. */
const MAX_PROMPT_IDS = 1e7;

const text = z.string().min(1);
const ids = z.array(z.int().min(0)).min(1).max(MAX_PROMPT_IDS);

const completionBody = z
  .strictObject({
    ...modelFields,
    prompt: z
      .union([text, z.array(text).min(1).max(MAX_CHOICES), ids, z.array(ids).min(1).max(MAX_CHOICES)])
      .describe("one text or several, or token ids, continued as they are"),
    ...samplingFields,
    n: choiceCount,
    max_tokens: z.int().min(1).max(1e9).nullish().describe(`default ${DEFAULT_MAX_TOKENS}`),
    ...streamFields,
    best_of: withoutEffect(z.int(), (x) => x === 1),
    echo: withoutEffect(z.boolean(), (x) => !x),
    logprobs: z.int().min(0).max(MAX_LOGPROBS).nullish().describe("so many likely tokens for each one"),
    suffix: withoutEffect(z.string(), (text) => text === ""),
    ...sideFields,
  })
  .superRefine(checkStream);

/** Log-probabilities as this endpoint has them: lists beside each other, one entry per token. */
const textLogprobs = z.strictObject({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number()),
  top_logprobs: z.array(z.record(z.string(), z.number())),
  text_offset: z.array(z.int()),
});

type TextLogprobs = z.output<typeof textLogprobs>;

/** A whole answer, and an event of a streamed one: the same shape. */
const completion = z.object({
  id: z.string(),
  object: z.literal("text_completion"),
  created: z.int(),
  model: z.string(),
  choices: z.array(
    z.object({
      index: z.int(),
      text: z.string(),
      logprobs: textLogprobs.nullable(),
      finish_reason: z.enum(["stop", "length"]).nullable(),
    }),
  ),
  usage: usage.nullish(),
});

type Completion = z.output<typeof completion>;
type Head = Pick<Completion, "id" | "created" | "model">;

/** POST /v1/completions. */
export function completionRoutes(parts: ServerParts): readonly Route[] {
  return [
    route({
      method: "post",
      path: "/v1/completions",
      summary: "Continue a text",
      body: completionBody,
      answer: completion,
      event: completion,
      handle: (c, body) => complete(c, body, parts),
    }),
  ];
}

async function complete(
  c: RequestContext,
  body: z.output<typeof completionBody>,
  parts: ServerParts,
): Promise<Response> {
  const prompts = promptsOf(body.prompt);
  const perPrompt = body.n ?? 1;
  if (prompts.length * perPrompt > MAX_CHOICES)
    throw refusal([
      {
        where: "n",
        message: `expected at most ${MAX_CHOICES} answers in all, got ${prompts.length * perPrompt}`,
      },
    ]);
  const maxTokens = body.max_tokens ?? DEFAULT_MAX_TOKENS;
  const adapters = adaptersOf(c, body, parts);
  const logprobs = typeof body.logprobs === "number" ? { logprobs: body.logprobs } : {};
  const requests = prompts.flatMap((prompt) =>
    requestsOf(body, { adapters, ...prompt, maxTokens, ...logprobs }),
  );
  const events = await startChoices(c, parts, requests);
  const head = { id: `cmpl-${randomUUID()}`, created: Math.floor(Date.now() / 1000), model: body.model };
  if (!body.stream) return Response.json(whole(await allResults(events), perPrompt, head));
  const withUsage = body.stream_options?.include_usage === true;
  return eventStream(chunks(events, perPrompt, head, withUsage), (error) => streamFailure(c, error));
}

/** Every prompt as the engine takes it. */
function promptsOf(
  prompt: z.output<typeof completionBody>["prompt"],
): Pick<EngineRequest, "prompt" | "raw" | "promptIds">[] {
  const isOne = typeof prompt === "string" || typeof prompt[0] === "number";
  const all = (isOne ? [prompt] : prompt) as readonly (string | readonly number[])[];
  return all.map((one) => (typeof one === "string" ? { prompt: one, raw: true } : { promptIds: one }));
}

function whole(results: readonly GenerateResult[], perPrompt: number, head: Head): Completion {
  return {
    ...head,
    object: "text_completion",
    choices: results.map((result, index) => ({
      index,
      text: result.text,
      logprobs: logprobsFrom(0, result.logprobs),
      finish_reason: finishReason(result),
    })),
    usage: usageOf(results, perPrompt),
  };
}

async function* chunks(
  events: AsyncGenerator<ChoiceEvent, void>,
  perPrompt: number,
  head: Head,
  withUsage: boolean,
): AsyncGenerator<string> {
  const results: GenerateResult[] = [];
  const offsets: number[] = [];
  const chunk = (choices: Completion["choices"], used: Completion["usage"] = null): string => {
    const said: Completion = { ...head, object: "text_completion", choices };
    return eventText(withUsage ? { ...said, usage: used } : said);
  };
  for await (const event of events) {
    const { index } = event;
    if ("piece" in event) {
      const { text, logprobs: chosen } = event.piece;
      const offset = offsets[index] ?? 0;
      offsets[index] = offset + lengthOf(chosen);
      yield chunk([{ index, text, logprobs: logprobsFrom(offset, chosen), finish_reason: null }]);
    } else {
      results[index] = event.result;
      yield chunk([{ index, text: "", logprobs: null, finish_reason: finishReason(event.result) }]);
    }
  }
  if (withUsage) yield chunk([], usageOf(results, perPrompt));
  yield eventText("[DONE]");
}

/** Log-probabilities of tokens of an answer, whose texts begin at `offset`; null where none were asked for. */
function logprobsFrom(offset: number, chosen: readonly ChosenLogprob[] | undefined): TextLogprobs | null {
  if (chosen === undefined) return null;
  return {
    tokens: chosen.map(({ text }) => text),
    token_logprobs: chosen.map(({ logprob }) => logprob),
    top_logprobs: chosen.map(({ top }) =>
      Object.fromEntries(top.map(({ text, logprob }) => [text, logprob])),
    ),
    text_offset: chosen.map((_, i) => offset + lengthOf(chosen.slice(0, i))),
  };
}

/** UTF-16 units of the tokens' texts. */
function lengthOf(chosen: readonly ChosenLogprob[] = []): number {
  return chosen.reduce((n, { text }) => n + text.length, 0);
}
