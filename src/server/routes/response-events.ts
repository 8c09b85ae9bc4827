import type { ChosenLogprob } from "../../generate/logprobs.ts";
import type { GenerateResult } from "../../generate/stream.ts";
import { type AnswerReader, type Said, tokenLogprob } from "../answer.ts";
import type { ChoiceEvent } from "../choices.ts";
import { errorBody, httpErrorOf } from "../errors.ts";
import { eventText } from "../event-stream.ts";
import type { RequestContext } from "../route.ts";
import type { FunctionCall, OutputItem, ResponseEvent, ResponseObject } from "./response-schema.ts";
import { callItem, messageItem } from "./responses-output.ts";

/** What the events of a response are made of. */
export interface ResponseParts {
  readonly begun: ResponseObject;
  readonly reader: AnswerReader;
  /** The whole of it, of items that are done. */
  finish(items: readonly OutputItem[], result: GenerateResult): ResponseObject;
}

/** The events of a response, in OpenAI's order: created, then item by item (added, its pieces, done), and the whole, which is returned
 *  as well. */
export async function* responseEvents(
  events: AsyncGenerator<ChoiceEvent, void>,
  { begun, reader, finish }: ResponseParts,
): AsyncGenerator<ResponseEvent, ResponseObject> {
  const output = createOutput(begun.tools.length > 0);
  yield output.event("response.created", { response: begun });
  yield output.event("response.in_progress", { response: begun });
  for await (const one of events) {
    if ("piece" in one) {
      yield* output.say(reader.push(one.piece.text), one.piece.logprobs ?? []);
      continue;
    }
    yield* output.say(reader.push(null), []);
    if (output.items.length === 0) yield* output.openMessage();
    yield* output.closeMessage(one.result.finishReason === "length" ? "incomplete" : "completed", true);
    const response = finish(output.items, one.result);
    yield output.event(`response.${response.status}`, { response });
    return response;
  }
  throw new Error("the answer has no end");
}

interface Output {
  /** Items that are done. */
  readonly items: readonly OutputItem[];
  event(type: string, fields: object): ResponseEvent;
  say(said: Said, logprobs: readonly ChosenLogprob[]): Generator<ResponseEvent>;
  openMessage(): Generator<ResponseEvent>;
  /** Ends the message that is open, if one is. `isLast`: with what is left of log-probabilities. */
  closeMessage(status: "completed" | "incomplete", isLast: boolean): Generator<ResponseEvent>;
}

interface OpenMessage {
  readonly id: string;
  text: string;
  readonly logprobs: ReturnType<typeof tokenLogprob>[];
}

/** The items of an answer while it is written. */
function createOutput(hasTools: boolean): Output {
  const items: OutputItem[] = [];
  const tokens = createTokenQueue(hasTools);
  let sequence = 0;
  let open: OpenMessage | null = null;
  const event = (type: string, fields: object): ResponseEvent => ({
    type,
    sequence_number: sequence++,
    ...fields,
  });
  const place = (id: string) => ({ item_id: id, output_index: items.length });

  function* openMessage(): Generator<ResponseEvent> {
    if (open) return;
    const { id } = messageItem("", "completed");
    open = { id, text: "", logprobs: [] };
    const item = { type: "message", id, role: "assistant", status: "in_progress", content: [] };
    yield event("response.output_item.added", { output_index: items.length, item });
    const part = { type: "output_text", text: "", annotations: [], logprobs: [] };
    yield event("response.content_part.added", { ...place(id), content_index: 0, part });
  }
  function* delta(message: OpenMessage, text: string, chosen: readonly ChosenLogprob[]) {
    const logprobs = chosen.map(tokenLogprob);
    message.text += text;
    message.logprobs.push(...logprobs);
    const at = { ...place(message.id), content_index: 0 };
    yield event("response.output_text.delta", { ...at, delta: text, logprobs });
  }
  function* closeMessage(status: "completed" | "incomplete", isLast: boolean): Generator<ResponseEvent> {
    if (!open) return;
    const rest = isLast ? tokens.takeAll() : [];
    if (rest.length > 0) yield* delta(open, "", rest);
    const { id, text, logprobs } = open;
    const item = messageItem(text, status, id, logprobs);
    const at = { ...place(id), content_index: 0 };
    yield event("response.output_text.done", { ...at, text, logprobs });
    yield event("response.content_part.done", { ...at, part: item.content[0] });
    yield event("response.output_item.done", { output_index: items.length, item });
    items.push(item);
    open = null;
  }
  function* call(item: FunctionCall): Generator<ResponseEvent> {
    const added = { ...item, arguments: "", status: "in_progress" };
    const values = { arguments: item.arguments };
    yield event("response.output_item.added", { output_index: items.length, item: added });
    yield event("response.function_call_arguments.delta", { ...place(item.id), delta: item.arguments });
    yield event("response.function_call_arguments.done", { ...place(item.id), name: item.name, ...values });
    yield event("response.output_item.done", { output_index: items.length, item });
    items.push(item);
  }
  function* say({ text, calls }: Said, logprobs: readonly ChosenLogprob[]): Generator<ResponseEvent> {
    tokens.add(logprobs);
    if (text !== "") {
      yield* openMessage();
      yield* delta(open as unknown as OpenMessage, text, tokens.take(text));
    }
    if (calls.length > 0) tokens.takeAll(); // those of calls belong to no text
    for (const one of calls) {
      yield* closeMessage("completed", false);
      yield* call(callItem(one));
    }
  }
  return { items, event, say, openMessage, closeMessage };
}

/** Log-probabilities of tokens until their text is said. `hasTools`: what comes may be held back, or be a call; then tokens are told
 *  from those of calls by the lengths of their texts. */
function createTokenQueue(hasTools: boolean) {
  const queue: ChosenLogprob[] = [];
  let ahead = 0; // characters of tokens taken beyond the text that was said
  return {
    add: (tokens: readonly ChosenLogprob[]) => void queue.push(...tokens),
    take: (text: string): ChosenLogprob[] => {
      if (!hasTools) return queue.splice(0);
      const taken: ChosenLogprob[] = [];
      for (ahead -= text.length; ahead < 0 && queue.length > 0; ahead += taken.at(-1)?.text.length ?? 0)
        taken.push(queue.shift() as ChosenLogprob);
      return taken;
    },
    takeAll: (): ChosenLogprob[] => {
      ahead = 0;
      return queue.splice(0);
    },
  };
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
