import type { Span } from "./added-tokens.ts";
import type { Segment } from "./chat-segments.ts";
import type { ChatTemplate } from "./chat-template.ts";
import type { Message, RenderOptions } from "./messages.ts";
import type { TextSection, Tokenizer } from "./tokenizer.ts";

/** A tokenized conversation. */
export interface EncodedChat {
  readonly ids: number[];
  /** [ids.length] 1 on tokens that hold assistant content, and on the end-of-turn token that closes it. */
  readonly isAssistant: Uint8Array;
  /** As in `RenderedSegments`. */
  readonly isExact: boolean;
}

/** Token ids of a conversation, as `apply_chat_template` of transformers gives them, except that special tokens
 *  written in a message stay literal. The text is cut at the template's special tokens only, so merges across the
 *  border of template and content are those of the whole text.
 *
 *  A turn's end is the first special token after assistant content with nothing but white space before it; the white
 *  space counts too, since the model must write it to get there.
 *  @throws FormatError if the template refuses the messages. */
export function encodeChat(
  tokenizer: Tokenizer,
  template: ChatTemplate,
  messages: readonly Message[],
  options: RenderOptions = {},
): EncodedChat {
  const { segments, isExact } = template.renderSegments(messages, options);
  const text = segments.map((s) => s.text).join("");
  const { contents, assistant } = spansOf(segments);
  const ids: number[] = [];
  const flags: number[] = [];
  const sections = tokenizer.sections(text, contents);
  sections.forEach((section, i) => {
    if (section.id !== null) {
      ids.push(section.id);
      flags.push(assistant.some(([, to]) => closes(text, to, section.start)) ? 1 : 0);
      return;
    }
    const sectionIds = tokenizer.encode(section.text, { continues: section.start > 0 });
    for (const id of sectionIds) ids.push(id);
    const isClosed = (sections[i + 1]?.id ?? null) !== null;
    for (const flag of sectionFlags(tokenizer, section, sectionIds, assistant, isClosed)) flags.push(flag);
  });
  return { ids, isAssistant: Uint8Array.from(flags), isExact };
}

/** Ranges of the joined text: all message content, and that of assistants. */
function spansOf(segments: readonly Segment[]): { readonly contents: Span[]; readonly assistant: Span[] } {
  const contents: Span[] = [];
  const assistant: Span[] = [];
  let at = 0;
  for (const segment of segments) {
    const span: Span = [at, at + segment.text.length];
    at = span[1];
    if (!segment.isTemplate) contents.push(span);
    if (segment.isAssistantContent) assistant.push(span);
  }
  return { contents, assistant };
}

/** Nothing but white space stands between the end of a content and a special token. */
function closes(text: string, contentEnd: number, tokenStart: number): boolean {
  return contentEnd <= tokenStart && text.slice(contentEnd, tokenStart).trim() === "";
}

/** [ids.length] 1 on the tokens of a section that hold part of an assistant's content. `isClosed`: a special token
 *  follows the section. */
function sectionFlags(
  tokenizer: Tokenizer,
  section: TextSection,
  ids: readonly number[],
  assistant: readonly Span[],
  isClosed: boolean,
): Uint8Array {
  const { start, text } = section;
  const flags = new Uint8Array(ids.length);
  for (const [from, to] of assistant) {
    if (to <= start || from >= start + text.length) continue;
    const endsSection = isClosed && text.slice(to - start).trim() === "";
    const first = tokenAt(tokenizer, section, ids, from - start, "before");
    const last = endsSection ? ids.length : tokenAt(tokenizer, section, ids, to - start, "after");
    flags.fill(1, first, last);
  }
  return flags;
}

/** Number of tokens that end before an offset of the section's text; with "after", counting the one across it.
 *  Found by encoding the text up to there: the ids agree up to the piece that holds the offset, bytes tell the rest. */
function tokenAt(
  tokenizer: Tokenizer,
  { start, text }: TextSection,
  ids: readonly number[],
  offset: number,
  side: "before" | "after",
): number {
  if (offset <= 0) return 0;
  if (offset >= text.length) return ids.length;
  const upTo = tokenizer.encode(text.slice(0, offset), { continues: start > 0 });
  const length = (id: number | undefined): number => (id === undefined ? 0 : tokenizer.tokenBytes(id).length);
  let count = 0;
  while (count < upTo.length && upTo[count] === ids[count]) count++;
  let missing = upTo.slice(count).reduce((sum, id) => sum + length(id), 0);
  while (count < ids.length && missing > 0) {
    missing -= length(ids[count]);
    if (missing < 0 && side === "before") break;
    count++;
  }
  return count;
}
