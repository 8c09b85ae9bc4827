import type { GenerateResult } from "../../generate/stream.ts";
import type { ChoiceEvent } from "../choices.ts";
import { errorBody, httpErrorOf } from "../errors.ts";
import { eventText } from "../event-stream.ts";
import type { RequestContext } from "../route.ts";
import type { OutputMessage, ResponseObject } from "./responses-schema.ts";

/** The events of a streamed response, in OpenAI's order: created, item, part, pieces of text, and each of them done. */
export async function* responseEvents(
  events: AsyncGenerator<ChoiceEvent, void>,
  begun: ResponseObject,
  messageId: string,
  finish: (result: GenerateResult) => ResponseObject,
): AsyncGenerator<string> {
  let sequence = 0;
  const event = (type: string, fields: object): string =>
    eventText({ type, sequence_number: sequence++, ...fields }, type);
  const part = { item_id: messageId, output_index: 0, content_index: 0 };
  const textPart = (text: string) => ({ type: "output_text", text, annotations: [], logprobs: [] });
  const opened: OutputMessage = {
    type: "message",
    id: messageId,
    role: "assistant",
    status: "in_progress",
    content: [],
  };
  yield event("response.created", { response: begun });
  yield event("response.in_progress", { response: begun });
  yield event("response.output_item.added", { output_index: 0, item: opened });
  yield event("response.content_part.added", { ...part, part: textPart("") });
  for await (const one of events) {
    if ("piece" in one) {
      yield event("response.output_text.delta", { ...part, delta: one.piece.text, logprobs: [] });
      continue;
    }
    const response = finish(one.result);
    const { text } = one.result;
    yield event("response.output_text.done", { ...part, text, logprobs: [] });
    yield event("response.content_part.done", { ...part, part: textPart(text) });
    yield event("response.output_item.done", { output_index: 0, item: response.output[0] });
    yield event(`response.${response.status}`, { response });
  }
}

/** The last events of a response that fails under way. The number goes on from no event: the failed one is the last. */
export function responseFailure(c: RequestContext, begun: ResponseObject, error: unknown): string {
  const failure = httpErrorOf(error);
  c.get("note").error = failure.code;
  const { message, code, param } = errorBody(failure).error;
  const failed = { ...begun, status: "failed", error: { code: "server_error", message } };
  const sequence = Number.MAX_SAFE_INTEGER - 1;
  return [
    eventText({ type: "error", sequence_number: sequence, code, message, param }, "error"),
    eventText(
      { type: "response.failed", sequence_number: sequence + 1, response: failed },
      "response.failed",
    ),
  ].join("");
}
