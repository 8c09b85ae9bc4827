import { randomUUID } from "node:crypto";
import type { EngineRequest } from "../../generate/engine/engine.ts";
import type { GenerateResult } from "../../generate/stream.ts";
import { type AnswerReader, answerReaders, choiceLogprobs, type Said } from "../answer.ts";
import { allResults, type ChoiceEvent, finishReason, startChoices, usageOf } from "../choices.ts";
import { streamFailure } from "../errors.ts";
import { eventStream, eventText } from "../event-stream.ts";
import { requestsOf } from "../fields.ts";
import { templateMessages } from "../messages.ts";
import { adaptersOf } from "../model-names.ts";
import type { ServerParts } from "../parts.ts";
import { type RequestContext, type Route, route } from "../route.ts";
import {
  type ChatBody,
  type ChatChunk,
  type ChatCompletion,
  type ChatHead,
  chatBody,
  chatChunk,
  chatCompletion,
} from "./chat-schema.ts";
import { toolWishes } from "./tool-schema.ts";

/** POST /v1/chat/completions. */
export function chatRoutes(parts: ServerParts): readonly Route[] {
  return [
    route({
      method: "post",
      path: "/v1/chat/completions",
      summary: "Answer a conversation",
      body: chatBody,
      answer: chatCompletion,
      event: chatChunk,
      handle: (c, body) => chat(c, body, parts),
    }),
  ];
}

async function chat(c: RequestContext, body: ChatBody, parts: ServerParts): Promise<Response> {
  const { engine } = parts;
  const wishes = toolWishes(body, body.tools ?? []);
  const adapters = adaptersOf(c, body, parts);
  const newReader = answerReaders(await engine.speaking(adapters), wishes);
  const requests = requestsOf(body, {
    adapters,
    messages: templateMessages(body.messages),
    maxTokens: body.max_completion_tokens ?? body.max_tokens ?? engine.contextLength,
    ...wishes,
    ...formatOf(body.response_format),
    ...(body.chat_template_kwargs && { templateArgs: body.chat_template_kwargs }),
    ...(body.logprobs ? { logprobs: body.top_logprobs ?? 0 } : {}),
  });
  const readers = requests.map(newReader);
  const events = await startChoices(c, parts, requests);
  const head = { id: `chatcmpl-${randomUUID()}`, created: Math.floor(Date.now() / 1000), model: body.model };
  if (!body.stream) return Response.json(whole(await allResults(events), readers, head));
  const withUsage = body.stream_options?.include_usage === true;
  return eventStream(chunks(events, readers, head, withUsage), (error) => streamFailure(c, error));
}

/** A format as the engine takes it. */
function formatOf(format: ChatBody["response_format"]): Pick<EngineRequest, "responseFormat"> {
  if (!format || format.type === "text") return {};
  return { responseFormat: "json_schema" in format ? format.json_schema.schema : "json" };
}

function whole(
  results: readonly GenerateResult[],
  readers: readonly AnswerReader[],
  head: ChatHead,
): ChatCompletion {
  return {
    ...head,
    object: "chat.completion",
    choices: results.map((result, index) => {
      const { text, calls } = (readers[index] as AnswerReader).whole(result.text);
      const isCall = calls.length > 0;
      const content = isCall && text === "" ? null : text;
      return {
        index,
        message: { role: "assistant", content, refusal: null, ...(isCall ? { tool_calls: calls } : {}) },
        logprobs: choiceLogprobs(result.logprobs),
        finish_reason: isCall && result.finishReason !== "length" ? "tool_calls" : finishReason(result),
      };
    }),
    usage: usageOf(results, results.length),
  };
}

type Choice = ChatChunk["choices"][number];

async function* chunks(
  events: AsyncGenerator<ChoiceEvent, void>,
  readers: readonly AnswerReader[],
  head: ChatHead,
  withUsage: boolean,
): AsyncGenerator<string> {
  const results: GenerateResult[] = [];
  const callCounts = readers.map(() => 0);
  const chunk = (choices: readonly Choice[], usage: ChatChunk["usage"] = null): string => {
    const said: ChatChunk = { ...head, object: "chat.completion.chunk", choices };
    return eventText(withUsage ? { ...said, usage } : said);
  };
  const deltaOf = (index: number, { text, calls }: Said): Choice["delta"] => {
    const from = callCounts[index] as number;
    callCounts[index] = from + calls.length;
    const numbered = calls.map((call, k) => ({ index: from + k, ...call }));
    return {
      ...(text === "" ? {} : { content: text }),
      ...(calls.length > 0 ? { tool_calls: numbered } : {}),
    };
  };
  const choice = (index: number, delta: Choice["delta"], logprobs: Choice["logprobs"] = null): Choice => ({
    index,
    delta,
    logprobs,
    finish_reason: null,
  });
  for (const index of readers.keys()) yield chunk([choice(index, { role: "assistant", content: "" })]);
  for await (const event of events) {
    const { index } = event;
    const reader = readers[index] as AnswerReader;
    if ("piece" in event) {
      const delta = deltaOf(index, reader.push(event.piece.text));
      const logprobs = choiceLogprobs(event.piece.logprobs);
      if (logprobs || Object.keys(delta).length > 0) yield chunk([choice(index, delta, logprobs)]);
      continue;
    }
    results[index] = event.result;
    const rest = deltaOf(index, reader.push(null));
    if (Object.keys(rest).length > 0) yield chunk([choice(index, rest)]);
    const isCall = callCounts[index] !== 0 && event.result.finishReason !== "length";
    yield chunk([
      { ...choice(index, {}), finish_reason: isCall ? "tool_calls" : finishReason(event.result) },
    ]);
  }
  if (withUsage) yield chunk([], usageOf(results, readers.length));
  yield eventText("[DONE]");
}
