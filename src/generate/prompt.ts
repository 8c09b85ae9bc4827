import type { BaseModel } from "../models/base-model.ts";
import { encodeChat } from "../text/chat-encode.ts";
import type { Message } from "../text/messages.ts";

/** Ids of plain text to continue, with BOS where the model expects one. */
export function rawIds(base: BaseModel, text: string): number[] {
  const { tokenizer } = base;
  const bos = tokenizer.addBos && tokenizer.bosId !== null ? [tokenizer.bosId] : [];
  return [...bos, ...tokenizer.encode(text)];
}

/** A prompt as ids. */
export interface EncodedPrompt {
  readonly ids: readonly number[];
  /** Where the first answer that is part of it begins; its end where there is none. */
  readonly answerStart: number;
}

/** Plain text to continue, as `rawIds`. */
export function rawPrompt(base: BaseModel, text: string): EncodedPrompt {
  const ids = rawIds(base, text);
  return { ids, answerStart: ids.length };
}

/** A conversation to answer: by the chat template; for models without one, a system message and the prompt as text, as training
 *  on pairs lays them out. */
export function chatPrompt(base: BaseModel, messages: readonly Message[]): EncodedPrompt {
  if (!base.template) return rawPrompt(base, messages.map((m) => m.content).join("\n\n"));
  const { ids, isAssistant } = encodeChat(base.tokenizer, base.template, messages, {
    addGenerationPrompt: true,
  });
  const first = isAssistant.indexOf(1);
  return { ids, answerStart: first < 0 ? ids.length : first };
}
