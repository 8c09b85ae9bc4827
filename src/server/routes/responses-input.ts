import type { Message } from "../../text/messages.ts";
import { HttpError } from "../errors.ts";
import type { ItemMemory } from "../item-memory.ts";
import { type ChatMessage, templateMessages } from "../messages.ts";
import type { InputItem, OutputItem, ResponsesBody } from "./responses-schema.ts";

/** Instructions and input as messages. Calls of tools belong to the assistant's turn in front of them.
 *  @throws HttpError 404 for an item that is not remembered, 400 for arguments that are no JSON object */
export function inputMessages({ instructions, input }: ResponsesBody, memory: ItemMemory): Message[] {
  const messages: ChatMessage[] = instructions ? [{ role: "system", content: instructions }] : [];
  const items: readonly InputItem[] = typeof input === "string" ? [{ role: "user", content: input }] : input;
  for (const [i, item] of items.entries()) add(messages, recalled(item, `input[${i}]`, memory));
  return templateMessages(messages, "input, as messages");
}

type Plain = Exclude<InputItem, { readonly type: "item_reference" }>;

/** An item, also where only its id was sent. */
function recalled(item: InputItem, where: string, memory: ItemMemory): Plain {
  if (item.type !== "item_reference") return item;
  const kept = memory.recall(item.id);
  if (kept !== undefined) return JSON.parse(kept) as Plain;
  const message = `${where}: the item is not known here any more; send it whole (store: false makes clients do so)`;
  throw new HttpError(404, "item_not_found", message, { type: "not_found_error", param: where });
}

function add(messages: ChatMessage[], item: Plain): void {
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
export function asInput(item: OutputItem): string {
  const kept: Plain =
    item.type === "message"
      ? { role: "assistant", content: item.content.map(({ text }) => text).join("") }
      : item;
  return JSON.stringify(kept);
}
