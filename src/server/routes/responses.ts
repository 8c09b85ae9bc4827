import { randomUUID } from "node:crypto";
import type { EngineRequest } from "../../generate/engine/engine.ts";
import type { GenerateResult } from "../../generate/stream.ts";
import { type AnswerReader, answerReaders } from "../answer.ts";
import { allResults, startChoices } from "../choices.ts";
import { eventStream } from "../event-stream.ts";
import { requestsOf } from "../fields.ts";
import { createItemMemory, type ItemMemory } from "../item-memory.ts";
import { adaptersOf } from "../model-names.ts";
import type { ServerParts } from "../parts.ts";
import { type RequestContext, type Route, route } from "../route.ts";
import type { Tool } from "./chat-schema.ts";
import { responseEvents, responseFailure } from "./response-events.ts";
import { asInput, inputMessages } from "./responses-input.ts";
import { callItem, messageItem } from "./responses-output.ts";
import {
  type OutputItem,
  type ResponseObject,
  type ResponsesBody,
  responseEvent,
  responseObject,
  responsesBody,
} from "./responses-schema.ts";

/** Some thousand answers. */
const MAX_REMEMBERED = 8 * 2 ** 20;

/** POST /v1/responses: text and calls of tools. */
export function responsesRoutes(parts: ServerParts): readonly Route[] {
  const memory = createItemMemory(MAX_REMEMBERED);
  return [
    route({
      method: "post",
      path: "/v1/responses",
      summary: "Answer a conversation, in the form of OpenAI's newer endpoint",
      body: responsesBody,
      answer: responseObject,
      event: responseEvent,
      handle: (c, body) => respond(c, body, parts, memory),
    }),
  ];
}

async function respond(
  c: RequestContext,
  body: ResponsesBody,
  parts: ServerParts,
  memory: ItemMemory,
): Promise<Response> {
  const tools = body.tool_choice === "none" ? [] : (body.tools ?? []).map(chatTool);
  const adapters = adaptersOf(c, body, parts);
  const reader = answerReaders(await parts.engine.speaking(adapters), tools)();
  const requests = requestsOf(
    { ...body, n: 1 },
    {
      adapters,
      messages: inputMessages(body, memory),
      maxTokens: body.max_output_tokens ?? parts.engine.contextLength,
      ...(tools.length > 0 ? { tools } : {}),
      ...formatOf(body),
    },
  );
  const events = await startChoices(c, parts, requests);
  const begun = responseOf(body);
  const finish = (items: readonly OutputItem[], result: GenerateResult): ResponseObject => {
    if (begun.store) for (const item of items) memory.keep(item.id, asInput(item));
    return finished(begun, items, result);
  };
  if (body.stream)
    return eventStream(responseEvents(events, begun, reader, finish), (error) =>
      responseFailure(c, begun, error),
    );
  const [result] = (await allResults(events)) as [GenerateResult];
  return Response.json(finish(itemsOf(result, reader), result));
}

/** A tool as chat templates take it. */
function chatTool({ type, ...rest }: NonNullable<ResponsesBody["tools"]>[number]): Tool {
  return { type, function: rest };
}

function formatOf({ text }: ResponsesBody): Pick<EngineRequest, "responseFormat"> {
  const format = text?.format;
  if (!format || format.type === "text") return {};
  return { responseFormat: "schema" in format ? format.schema : "json" };
}

function itemsOf(result: GenerateResult, reader: AnswerReader): readonly OutputItem[] {
  const { text, calls } = reader.whole(result.text);
  const status = result.finishReason === "length" ? "incomplete" : "completed";
  const messages = text !== "" || calls.length === 0 ? [messageItem(text, status)] : [];
  return [...messages, ...calls.map(callItem)];
}

function responseOf(body: ResponsesBody): ResponseObject {
  return {
    id: `resp_${randomUUID()}`,
    object: "response",
    created_at: Math.floor(Date.now() / 1000),
    status: "in_progress",
    error: null,
    incomplete_details: null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    metadata: body.metadata ?? {},
    model: body.model,
    output: [],
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    previous_response_id: null,
    store: body.store ?? true,
    temperature: body.temperature ?? 1,
    text: { format: body.text?.format ?? { type: "text" } },
    tool_choice: body.tool_choice === "none" ? "none" : "auto",
    tools: body.tools ?? [],
    top_p: body.top_p ?? 1,
    truncation: "disabled",
    usage: null,
  };
}

function finished(
  begun: ResponseObject,
  output: readonly OutputItem[],
  result: GenerateResult,
): ResponseObject {
  const isCut = result.finishReason === "length";
  return {
    ...begun,
    status: isCut ? "incomplete" : "completed",
    incomplete_details: isCut ? { reason: "max_output_tokens" } : null,
    output,
    usage: {
      input_tokens: result.promptTokens,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: result.ids.length,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: result.promptTokens + result.ids.length,
    },
  };
}
