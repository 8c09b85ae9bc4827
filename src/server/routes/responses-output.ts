import { randomUUID } from "node:crypto";
import type { ToolCall } from "../messages.ts";
import type { FunctionCall, OutputMessage } from "./response-schema.ts";

/** A message of the model. */
export function messageItem(
  text: string,
  status: "completed" | "incomplete",
  id: string = `msg_${randomUUID()}`,
  logprobs: OutputMessage["content"][number]["logprobs"] = [],
): OutputMessage {
  const content = [{ type: "output_text", text, annotations: [], logprobs }] as const;
  return { type: "message", id, role: "assistant", status, content };
}

/** A call of a tool. */
export function callItem(call: ToolCall): FunctionCall {
  const { name, arguments: values } = call.function;
  const id = `fc_${randomUUID()}`;
  return { type: "function_call", id, call_id: call.id, name, arguments: values, status: "completed" };
}
