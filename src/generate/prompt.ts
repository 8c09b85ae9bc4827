import type { BaseModel } from "../models/base-model.ts";
import { encodeChat } from "../text/chat-encode.ts";
import type { Message } from "../text/messages.ts";

/** Ids of plain text to continue, with BOS where the model expects one. */
export function rawIds(base: BaseModel, text: string): number[] {
  const { tokenizer } = base;
  const bos = tokenizer.addBos && tokenizer.bosId !== null ? [tokenizer.bosId] : [];
  return [...bos, ...tokenizer.encode(text)];
}

/** Ids of a conversation to answer: by the chat template; for models without one, a system message and the prompt as text, as
 *  training on pairs lays them out. */
export function promptIds(base: BaseModel, messages: readonly Message[]): number[] {
  if (base.template)
    return encodeChat(base.tokenizer, base.template, messages, { addGenerationPrompt: true }).ids;
  return rawIds(base, messages.map((m) => m.content).join("\n\n"));
}
