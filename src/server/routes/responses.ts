import { randomUUID } from "node:crypto";
import { z } from "zod";
import { ContextError, InputError } from "../../errors.ts";
import type { EngineRequest } from "../../generate/engine/engine.ts";
import type { GenerateResult } from "../../generate/stream.ts";
import { answerReaders } from "../answer.ts";
import { startChoices } from "../choices.ts";
import { HttpError } from "../errors.ts";
import { eventStream, eventText } from "../event-stream.ts";
import { requestsOf } from "../fields.ts";
import { adaptersOf } from "../model-names.ts";
import type { ServerParts } from "../parts.ts";
import { createResponseMemory, type ResponseMemory } from "../response-memory.ts";
import { type RequestContext, type Route, route } from "../route.ts";
import { responseEvents, responseFailure } from "./response-events.ts";
import {
  type OutputItem,
  type ResponseEvent,
  type ResponseObject,
  responseEvent,
  responseObject,
} from "./response-schema.ts";
import { asInput, inputItems, inputMessages, previousItems, type WholeItem } from "./responses-input.ts";
import { hasLogprobs, type ResponsesBody, responsesBody } from "./responses-schema.ts";
import { type Tool, toolWishes } from "./tool-schema.ts";

/** Some thousand turns. */
const MAX_REMEMBERED = 16 * 2 ** 20;

/** POST /v1/responses: text and calls of tools; GET and DELETE of those that are kept. */
export function responsesRoutes(parts: ServerParts): readonly Route[] {
  const memory = createResponseMemory(MAX_REMEMBERED);
  const deleted = z.object({ id: z.string(), object: z.literal("response"), deleted: z.literal(true) });
  const path = "/v1/responses/{id}";
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
    route({
      method: "get",
      path,
      summary: "A response that is kept",
      body: null,
      answer: responseObject,
      handle: (c) => {
        const kept = memory.recall(idOf(c));
        if (!kept) throw notKept(idOf(c));
        return Response.json(JSON.parse(kept.response));
      },
    }),
    route({
      method: "delete",
      path,
      summary: "Forget a response",
      body: null,
      answer: deleted,
      handle: (c) => {
        if (!memory.forget(idOf(c))) throw notKept(idOf(c));
        return Response.json({ id: idOf(c), object: "response", deleted: true });
      },
    }),
  ];
}

function idOf(c: RequestContext): string {
  return c.req.param("id") ?? "";
}

function notKept(id: string): HttpError {
  const message = `the response "${id.slice(0, 200)}" is not known here, or not any more`;
  return new HttpError(404, "response_not_found", message, { type: "not_found_error", param: "id" });
}

async function respond(
  c: RequestContext,
  body: ResponsesBody,
  parts: ServerParts,
  memory: ResponseMemory,
): Promise<Response> {
  const wishes = toolWishes(body, (body.tools ?? []).map(chatTool));
  const adapters = adaptersOf(c, body, parts);
  const reader = answerReaders(await parts.engine.speaking(adapters), wishes)();
  const before = previousItems(body, memory);
  const items = inputItems(body, memory);
  const requests = requestsOf(
    { ...body, n: 1 },
    {
      adapters,
      messages: inputMessages(body.instructions, [...before, ...items]),
      maxTokens: body.max_output_tokens ?? parts.engine.contextLength,
      ...wishes,
      ...formatOf(body),
      ...(hasLogprobs(body) ? { logprobs: body.top_logprobs ?? 0 } : {}),
    },
  );
  const choices = await startChoices(c, parts, requests).catch((error: unknown) => {
    throw inOwnNames(error);
  });
  const begun = responseOf(body);
  const finish = (output: readonly OutputItem[], result: GenerateResult): ResponseObject => {
    const response = finished(begun, output, result);
    if (begun.store) keep(memory, response, items);
    return response;
  };
  const events = responseEvents(choices, { begun, reader, finish });
  if (!body.stream) return Response.json(await lastOf(events));
  return eventStream(texts(events), (error) => responseFailure(c, begun, error));
}

function keep(memory: ResponseMemory, response: ResponseObject, items: readonly WholeItem[]): void {
  memory.keep(response.id, {
    response: JSON.stringify(response),
    input: items.map((item) => JSON.stringify(item)),
    output: new Map(response.output.map((item) => [item.id, JSON.stringify(asInput(item))])),
    previous: response.previous_response_id,
  });
}

async function lastOf(events: AsyncGenerator<ResponseEvent, ResponseObject>): Promise<ResponseObject> {
  for (;;) {
    const next = await events.next();
    if (next.done) return next.value;
  }
}

async function* texts(events: AsyncGenerator<ResponseEvent, unknown>): AsyncGenerator<string> {
  for await (const event of events) yield eventText(event, event.type);
}

/** What the engine says of a request, in the names that this endpoint has. */
function inOwnNames(error: unknown): unknown {
  if (!(error instanceof InputError) || error instanceof ContextError) return error;
  const problems = error.problems.map(({ where, message }) => ({
    where: where.replace(/^responseFormat/, "text.format.schema").replace(/^(tools\[\d+\])\.function/, "$1"),
    message,
  }));
  return new InputError(error.message, problems);
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

function responseOf(body: ResponsesBody): ResponseObject {
  const choice = body.tool_choice ?? "auto";
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
    previous_response_id: body.previous_response_id ?? null,
    store: body.store ?? true,
    temperature: body.temperature ?? 1,
    text: { format: body.text?.format ?? { type: "text" } },
    tool_choice: typeof choice === "string" ? choice : { type: "function", name: choice.name },
    tools: body.tools ?? [],
    top_logprobs: body.top_logprobs ?? 0,
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
