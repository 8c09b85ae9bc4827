import { randomUUID } from "node:crypto";
import type { GenerateResult } from "../../generate/stream.ts";
import type { Message } from "../../text/messages.ts";
import { allResults, startChoices } from "../choices.ts";
import { HttpError } from "../errors.ts";
import { eventStream } from "../event-stream.ts";
import { requestsOf } from "../fields.ts";
import { createItemMemory, type ItemMemory } from "../item-memory.ts";
import { adaptersOf } from "../model-names.ts";
import type { ServerParts } from "../parts.ts";
import { type RequestContext, type Route, route } from "../route.ts";
import { responseEvents, responseFailure } from "./response-events.ts";
import {
  type InputItem,
  type OutputMessage,
  type ResponseObject,
  type ResponsesBody,
  responseEvent,
  responseObject,
  responsesBody,
} from "./responses-schema.ts";

/** Some thousand answers. */
const MAX_REMEMBERED = 8 * 2 ** 20;

/** POST /v1/responses: text in, text out. */
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
  const [request] = requestsOf(
    { ...body, n: 1 },
    {
      adapters: adaptersOf(c, body, parts),
      messages: messagesOf(body, memory),
      maxTokens: body.max_output_tokens ?? parts.engine.contextLength,
    },
  );
  const events = await startChoices(c, parts, request ? [request] : []);
  const begun = responseOf(body);
  const messageId = `msg_${randomUUID()}`;
  const finish = (result: GenerateResult): ResponseObject => {
    if (body.store ?? true) memory.keep(messageId, result.text);
    return finished(begun, messageId, result);
  };
  if (!body.stream) {
    const [result] = await allResults(events);
    return Response.json(finish(result as GenerateResult));
  }
  return eventStream(responseEvents(events, begun, messageId, finish), (error) =>
    responseFailure(c, begun, error),
  );
}

function messagesOf({ instructions, input }: ResponsesBody, memory: ItemMemory): Message[] {
  const system: Message[] = instructions ? [{ role: "system", content: instructions }] : [];
  if (typeof input === "string") return [...system, { role: "user", content: input }];
  return [...system, ...input.map((item, i) => messageOf(item, `input[${i}]`, memory))];
}

function messageOf(item: InputItem, where: string, memory: ItemMemory): Message {
  if (item.type === "item_reference") {
    const content = memory.recall(item.id);
    if (content !== undefined) return { role: "assistant", content };
    const message = `${where}: the item is not known here any more; send its text (store: false makes clients do so)`;
    throw new HttpError(404, "item_not_found", message, { type: "not_found_error", param: where });
  }
  const role = item.role === "developer" ? "system" : item.role;
  const content =
    typeof item.content === "string"
      ? item.content
      : item.content.map(({ text }) => ({ type: "text" as const, text }));
  return { role, content };
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
    text: { format: { type: "text" } },
    tool_choice: "auto",
    tools: [],
    top_p: body.top_p ?? 1,
    truncation: "disabled",
    usage: null,
  };
}

function finished(begun: ResponseObject, messageId: string, result: GenerateResult): ResponseObject {
  const isCut = result.finishReason === "length";
  const status = isCut ? "incomplete" : "completed";
  const message: OutputMessage = {
    type: "message",
    id: messageId,
    role: "assistant",
    status,
    content: [{ type: "output_text", text: result.text, annotations: [], logprobs: [] }],
  };
  return {
    ...begun,
    status,
    incomplete_details: isCut ? { reason: "max_output_tokens" } : null,
    output: [message],
    usage: {
      input_tokens: result.promptTokens,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: result.ids.length,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: result.promptTokens + result.ids.length,
    },
  };
}
