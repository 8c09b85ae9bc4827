import { type ChatText, chatMarkup } from "../text/chat-encode.ts";
import { contentText } from "../text/messages.ts";
import { encodeRaw } from "../text/raw.ts";
import type { Conversation, Report } from "./formats/format.ts";
import type { EncodedRow, TextCodec } from "./sequence.ts";
import { closed } from "./sequence.ts";

/** Markup of the model's chat template that the plain prompt of a row holds; null where there is none. */
export function heldMarkup(
  { messages, isPlain }: Conversation,
  { tokenizer, template }: ChatText,
): string | null {
  const prompt = messages.find(({ role }) => role === "user")?.content;
  if (!isPlain || typeof prompt !== "string" || template === null) return null;
  const markup = chatMarkup(template, tokenizer);
  return tokenizer.sections(prompt).find(({ id }) => id !== null && markup.has(id))?.text ?? null;
}

/** Prompt and completion as they stand, each encoded by itself: at generation the prompt is encoded alone too. Special tokens in them
 *  are special, as in transformers. */
export function encodePair(row: Conversation, codec: TextCodec, report: Report): EncodedRow | null {
  const texts = pairTexts(row, report);
  if (texts === null) return null;
  const { tokenizer } = codec;
  const prompt = encodeRaw(tokenizer, texts.prompt);
  const continues = texts.prompt !== "";
  const completion = closed(tokenizer.encode(texts.completion, { special: true, continues }), codec, report);
  if (completion === null) return null;
  const ids = Int32Array.from([...prompt, ...completion]);
  const isLabel = new Uint8Array(ids.length).fill(1, prompt.length);
  isLabel[0] = 0;
  return [{ ids, isLabel, completionLength: completion.length }];
}

/** The one prompt (with a system message in front) and the one completion of a row. */
function pairTexts(
  { messages }: Conversation,
  report: Report,
): { readonly prompt: string; readonly completion: string } | null {
  const system = messages[0]?.role === "system" ? messages[0] : undefined;
  const [user, assistant, ...more] = system === undefined ? messages : messages.slice(1);
  if (user?.role !== "user" || assistant?.role !== "assistant" || more.length > 0) {
    const turns = messages.map((message) => message.role).join(", ");
    report(`the model has no chat template, so a row must be one prompt and one completion; got ${turns}`);
    return null;
  }
  const prompt = contentText(user);
  return {
    prompt: system === undefined ? prompt : `${contentText(system)}\n\n${prompt}`,
    completion: contentText(assistant),
  };
}
