import { z } from "zod";
import type { Problem } from "../errors.ts";
import { parseJsonObject } from "../io/json.ts";
import type { Message, MessageContent } from "../text/messages.ts";
import { refusal } from "./body.ts";
import type { FieldsOf, Optional } from "./fields.ts";

const MAX_MESSAGES = 2048;

const textPart = z.strictObject({ type: z.literal("text"), text: z.string() });
const content = z.union([z.string(), z.array(textPart).min(1)]);
const name = z.string().max(64).nullish();

/** A call of a tool, its arguments as the text of a JSON object. */
export interface ToolCall {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: string };
}

/** Schemas of a call's fields. */
export const callFields: FieldsOf<ToolCall> = {
  id: z.string().max(200),
  type: z.literal("function"),
  function: z.strictObject({ name: z.string().min(1).max(64), arguments: z.string() }),
};

export const toolCall: z.ZodType<ToolCall> = z.strictObject(callFields);

/** A message as OpenAI's clients write it. */
export interface ChatMessage {
  readonly role: "system" | "developer" | "user" | "assistant" | "tool";
  readonly content?: MessageContent | undefined;
  readonly tool_calls?: Optional<readonly ToolCall[]>;
  readonly [field: string]: unknown;
}

const chatMessage = z.discriminatedUnion("role", [
  z.strictObject({ role: z.enum(["system", "developer", "user"]), content, name }),
  z.strictObject({
    role: z.literal("assistant"),
    content: content.nullish(),
    name,
    reasoning_content: z.string().nullish(),
    refusal: z.null().optional(),
    annotations: z.array(z.never()).nullish(),
    audio: z.null().optional(),
    function_call: z.null().optional(),
    tool_calls: z.array(toolCall).nullish(),
  }),
  z.strictObject({ role: z.literal("tool"), content, tool_call_id: z.string().max(200), name }),
]);

export const chatMessages: z.ZodType<ChatMessage[]> = z.array(chatMessage).min(1).max(MAX_MESSAGES);

/** Messages as chat templates take them: `developer` is OpenAI's newer name of `system`, and arguments of calls are objects, as in
 *  transformers. @throws HttpError 400 for arguments that are no JSON object */
export function templateMessages(messages: readonly ChatMessage[], field = "messages"): Message[] {
  const problems: Problem[] = [];
  const result = messages.map((message, i) => templateMessage(message, `${field}[${i}]`, problems));
  if (problems.length > 0) throw refusal(problems);
  return result;
}

function templateMessage(message: ChatMessage, where: string, problems: Problem[]): Message {
  if (message.role === "developer") return { ...plain(message), role: "system" };
  if (message.role !== "assistant") return plain(message);
  const { refusal: _, annotations: __, audio: ___, function_call: ____, tool_calls, ...said } = message;
  if (!tool_calls || tool_calls.length === 0) return plain(said);
  const calls = tool_calls.map((call, k) => ({
    ...call,
    function: {
      ...call.function,
      arguments: argumentsOf(
        call.function.arguments,
        `${where}.tool_calls[${k}].function.arguments`,
        problems,
      ),
    },
  }));
  return { ...plain(said), tool_calls: calls };
}

/** Without the fields that are null or left out, content apart. */
function plain(message: Pick<ChatMessage, "role" | "content">): Message {
  const { role, content: said = null, ...others } = message;
  const rest = Object.entries(others).filter(([, value]) => value !== null && value !== undefined);
  return { role, content: said, ...Object.fromEntries(rest) };
}

function argumentsOf(text: string, where: string, problems: Problem[]): unknown {
  if (text.trim() === "") return {};
  try {
    return parseJsonObject(new TextEncoder().encode(text), "arguments");
  } catch {
    problems.push({ where, message: "expected the text of a JSON object" });
    return {};
  }
}
