import { randomUUID } from "node:crypto";
import type { GenerateResult } from "../../generate/stream.ts";
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
  const requests = requestsOf(body, {
    adapters: adaptersOf(c, body, parts),
    messages: templateMessages(body.messages),
    maxTokens: body.max_completion_tokens ?? body.max_tokens ?? parts.engine.contextLength,
  });
  const events = await startChoices(c, parts, requests);
  const head = { id: `chatcmpl-${randomUUID()}`, created: Math.floor(Date.now() / 1000), model: body.model };
  if (!body.stream) return Response.json(whole(await allResults(events), head));
  const withUsage = body.stream_options?.include_usage === true;
  return eventStream(chunks(events, requests.length, head, withUsage), (error) => streamFailure(c, error));
}

function whole(results: readonly GenerateResult[], head: ChatHead): ChatCompletion {
  return {
    ...head,
    object: "chat.completion",
    choices: results.map((result, index) => ({
      index,
      message: { role: "assistant", content: result.text, refusal: null },
      logprobs: null,
      finish_reason: finishReason(result),
    })),
    usage: usageOf(results, results.length),
  };
}

async function* chunks(
  events: AsyncGenerator<ChoiceEvent, void>,
  count: number,
  head: ChatHead,
  withUsage: boolean,
): AsyncGenerator<string> {
  type Choice = ChatChunk["choices"][number];
  const results: GenerateResult[] = [];
  const chunk = (choices: Choice[], usage: ChatChunk["usage"] = null): string => {
    const said: ChatChunk = { ...head, object: "chat.completion.chunk", choices };
    return eventText(withUsage ? { ...said, usage } : said);
  };
  const choice = (
    index: number,
    delta: Choice["delta"],
    finish: Choice["finish_reason"] = null,
  ): Choice[] => [{ index, delta, logprobs: null, finish_reason: finish }];
  for (let index = 0; index < count; index++) yield chunk(choice(index, { role: "assistant", content: "" }));
  for await (const event of events) {
    if ("piece" in event) yield chunk(choice(event.index, { content: event.piece.text }));
    else {
      results[event.index] = event.result;
      yield chunk(choice(event.index, {}, finishReason(event.result)));
    }
  }
  if (withUsage) yield chunk([], usageOf(results, count));
  yield eventText("[DONE]");
}
