import type { Message } from "../../text/messages.ts";
import { HttpError } from "../errors.ts";
import { type ChatMessage, templateMessages } from "../messages.ts";
import type { ResponseMemory } from "../response-memory.ts";
import type { OutputItem } from "./response-schema.ts";
import type { InputItem, ResponsesBody } from "./responses-schema.ts";

/** An item of a conversation, whole. */
export type WholeItem = Exclude<InputItem, { readonly type: "item_reference" }>;

/** The items of a request, also where only their ids were sent. @throws HttpError 404 for one that is not remembered */
export function inputItems(
  { input }: Pick<ResponsesBody, "input">,
  memory: ResponseMemory,
): readonly WholeItem[] {
  if (typeof input === "string") return [{ role: "user", content: input }];
  return input.map((item, i) => {
    if (item.type !== "item_reference") return item;
    const kept = memory.recallItem(item.id);
    if (kept !== undefined) return JSON.parse(kept) as WholeItem;
    const where = `input[${i}]`;
    const message = `${where}: the item is not known here any more; send it whole (store: false makes clients do so)`;
    throw new HttpError(404, "item_not_found", message, { type: "not_found_error", param: where });
  });
}

/** The items of the conversation that a request goes on from. @throws HttpError 400 where it is not remembered */
export function previousItems(
  { previous_response_id: id }: Pick<ResponsesBody, "previous_response_id">,
  memory: ResponseMemory,
): readonly WholeItem[] {
  if (id === null || id === undefined) return [];
  const kept = memory.conversation(id);
  if (kept !== null) return kept.map((item) => JSON.parse(item) as WholeItem);
  const what = memory.recall(id) ? `a response that "${id}" goes on from` : `the response "${id}"`;
  const message = `previous_response_id: ${what} is not known here: never kept (store: false), deleted, or forgotten since memory is bounded; send the conversation as input`;
  throw new HttpError(400, "previous_response_not_found", message, { param: "previous_response_id" });
}

/** Instructions and items as messages. Calls of tools belong to the assistant's turn in front of them.
 *  @throws HttpError 400 for arguments that are no JSON object */
export function inputMessages(
  instructions: string | null | undefined,
  items: readonly WholeItem[],
): Message[] {
  const messages: ChatMessage[] = instructions ? [{ role: "system", content: instructions }] : [];
  for (const item of items) add(messages, item);
  return templateMessages(messages, "input, as messages");
}

function add(messages: ChatMessage[], item: WholeItem): void {
  if (item.type === "function_call_output")
    messages.push({ role: "tool", content: textOf(item.output), tool_call_id: item.call_id });
  else if (item.type === "function_call") {
    const last = messages.at(-1);
    const before = last?.role === "assistant" ? last : { role: "assistant" as const, content: null };
    if (last === before) messages.pop();
    const values = { name: item.name, arguments: item.arguments };
    const call = { id: item.call_id, type: "function" as const, function: values };
    messages.push({ ...before, tool_calls: [...(before.tool_calls ?? []), call] });
  } else messages.push({ role: item.role, content: textOf(item.content) });
}

function textOf(content: string | readonly { readonly text: string }[]): NonNullable<ChatMessage["content"]> {
  if (typeof content === "string") return content;
  return content.map(({ text }) => ({ type: "text", text }));
}

/** What an item of an answer is when it comes back as input. */
export function asInput(item: OutputItem): WholeItem {
  if (item.type !== "message") return item;
  return { role: "assistant", content: item.content.map(({ text }) => text).join("") };
}
