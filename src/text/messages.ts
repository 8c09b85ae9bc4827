/** Who speaks. Templates know the first four; the others are passed to those that know them. */
export type Role = "system" | "user" | "assistant" | "tool" | "developer" | "function" | "ipython";

/** A part of a message's content, as OpenAI's clients write it. */
export interface TextPart {
  readonly type: "text";
  readonly text: string;
}

/** What a message says: a text, its parts, or nothing (null) where it only calls tools. */
export type MessageContent = string | null | readonly TextPart[];

/** One turn of a conversation. Other fields (`tool_calls`, `reasoning_content`, `name`, …) are passed on to the chat template as
 *  they are. */
export interface Message {
  readonly role: Role;
  readonly content?: MessageContent;
  readonly [field: string]: unknown;
}

/** Fields that hold an assistant's thoughts, that of chat templates first. */
export const REASONING_FIELDS: readonly string[] = ["reasoning_content", "thinking", "reasoning"];

/** A message as a template sees it, as `apply_chat_template` of transformers (5.24) hands it over: without fields that are null, and
 *  thoughts under the names that templates read, whichever of `REASONING_FIELDS` they have. */
export function handedOver(message: Message): Message {
  const given = Object.entries(message).filter(([, value]) => value !== null && value !== undefined);
  const said = Object.fromEntries(given) as Message;
  const field = thoughtField(said);
  if (field === undefined) return said;
  return { thinking: said[field], ...said, reasoning_content: said[field] };
}

function thoughtField(message: Message): string | undefined {
  return REASONING_FIELDS.find((name) => message[name] !== undefined && message[name] !== null);
}

/** Names under which a template finds what a field of a message holds. */
export function namesInTemplate(message: Message, field: string): readonly string[] {
  if (field !== thoughtField(message)) return [field];
  return ["reasoning_content", ...((message.thinking ?? null) === null ? ["thinking"] : []), field];
}

/** What goes into a rendering beside the messages. */
export interface RenderOptions {
  /** End with the opening of an assistant turn, for the model to complete. Default false. */
  readonly addGenerationPrompt?: boolean;
  /** Tool descriptions (JSON schemas), for templates that list them. */
  readonly tools?: readonly unknown[];
  /** More template variables, e.g. `enable_thinking` or `date_string`. */
  readonly extra?: Readonly<Record<string, unknown>>;
  /** What the template takes for the current time (`strftime_now`); default: now. */
  readonly now?: Date;
}

/** UTF-16 units of the contents of messages. */
export function contentLength(messages: readonly Pick<Message, "content">[]): number {
  return messages.reduce((n, message) => n + contentText(message).length, 0);
}

/** The text of a message; "" where it has none. */
export function contentText({ content }: Pick<Message, "content">): string {
  if (typeof content === "string") return content;
  return (content ?? []).map((part) => part.text).join("");
}
