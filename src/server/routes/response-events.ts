import type { GenerateResult } from "../../generate/stream.ts";
import type { AnswerReader, Said } from "../answer.ts";
import type { ChoiceEvent } from "../choices.ts";
import { errorBody, httpErrorOf } from "../errors.ts";
import { eventText } from "../event-stream.ts";
import type { RequestContext } from "../route.ts";
import { callItem, messageItem } from "./responses-output.ts";
import type { FunctionCall, OutputItem, ResponseObject } from "./responses-schema.ts";

/** The events of a streamed response, in OpenAI's order: created, then item by item (added, its pieces, done), and the whole. */
export async function* responseEvents(
  events: AsyncGenerator<ChoiceEvent, void>,
  begun: ResponseObject,
  reader: AnswerReader,
  finish: (items: readonly OutputItem[], result: GenerateResult) => ResponseObject,
): AsyncGenerator<string> {
  const output = createOutput();
  yield output.event("response.created", { response: begun });
  yield output.event("response.in_progress", { response: begun });
  for await (const one of events) {
    if ("piece" in one) {
      yield* output.say(reader.push(one.piece.text));
      continue;
    }
    yield* output.say(reader.push(null));
    if (output.items.length === 0) yield* output.openMessage();
    yield* output.closeMessage(one.result.finishReason === "length" ? "incomplete" : "completed");
    const response = finish(output.items, one.result);
    yield output.event(`response.${response.status}`, { response });
  }
}

interface Output {
  /** Items that are done. */
  readonly items: readonly OutputItem[];
  event(type: string, fields: object): string;
  say(said: Said): Generator<string>;
  openMessage(): Generator<string>;
  /** Ends the message that is open, if one is. */
  closeMessage(status: "completed" | "incomplete"): Generator<string>;
}

/** The items of an answer while it is written. */
function createOutput(): Output {
  const items: OutputItem[] = [];
  let sequence = 0;
  let open: { readonly id: string; text: string } | null = null;
  const event = (type: string, fields: object): string =>
    eventText({ type, sequence_number: sequence++, ...fields }, type);
  const place = (id: string) => ({ item_id: id, output_index: items.length });

  function* openMessage(): Generator<string> {
    if (open) return;
    const { id } = messageItem("", "completed");
    open = { id, text: "" };
    const item = { type: "message", id, role: "assistant", status: "in_progress", content: [] };
    yield event("response.output_item.added", { output_index: items.length, item });
    const part = { type: "output_text", text: "", annotations: [], logprobs: [] };
    yield event("response.content_part.added", { ...place(id), content_index: 0, part });
  }
  function* closeMessage(status: "completed" | "incomplete"): Generator<string> {
    if (!open) return;
    const { id, text } = open;
    const item = messageItem(text, status, id);
    const at = { ...place(id), content_index: 0 };
    yield event("response.output_text.done", { ...at, text, logprobs: [] });
    yield event("response.content_part.done", { ...at, part: item.content[0] });
    yield event("response.output_item.done", { output_index: items.length, item });
    items.push(item);
    open = null;
  }
  function* call(item: FunctionCall): Generator<string> {
    const added = { ...item, arguments: "", status: "in_progress" };
    const values = { arguments: item.arguments };
    yield event("response.output_item.added", { output_index: items.length, item: added });
    yield event("response.function_call_arguments.delta", { ...place(item.id), delta: item.arguments });
    yield event("response.function_call_arguments.done", { ...place(item.id), name: item.name, ...values });
    yield event("response.output_item.done", { output_index: items.length, item });
    items.push(item);
  }
  function* say({ text, calls }: Said): Generator<string> {
    if (text !== "") {
      yield* openMessage();
      const message = open as unknown as { readonly id: string; text: string };
      message.text += text;
      yield event("response.output_text.delta", {
        ...place(message.id),
        content_index: 0,
        delta: text,
        logprobs: [],
      });
    }
    for (const one of calls) {
      yield* closeMessage("completed");
      yield* call(callItem(one));
    }
  }
  return { items, event, say, openMessage, closeMessage };
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
