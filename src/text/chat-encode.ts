import { LowrankError } from "../errors.ts";
import { commonLength } from "../tensor/common-length.ts";
import type { Span, TextSection } from "./added-tokens.ts";
import type { ChatTemplate } from "./chat-template.ts";
import type { DataSpan, Rendering } from "./jinja/template.ts";
import { contentText, type Message, type RenderOptions } from "./messages.ts";
import { encodeRaw } from "./raw.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** How a model's conversations become tokens. */
export interface ChatText {
  readonly tokenizer: Tokenizer;
  /** Null for models without one. */
  readonly template: ChatTemplate | null;
}

/** Tokens of a rendered conversation. */
export interface EncodedRendering {
  readonly ids: readonly number[];
  /** [ids.length] 1 on tokens that hold text of a `{% generation %}` block. */
  readonly isGenerated: Uint8Array;
}

/** Ids of sections that were encoded before: turn after turn begins with the same history. */
export type SectionMemory = Map<string, readonly number[]>;

/** Token ids of a rendering, as `apply_chat_template` of transformers gives them, except that special tokens in the data (contents,
 *  tools, template arguments) stay literal. The text is cut at the template's special tokens only, so merges across the border of
 *  template and content are those of the whole text. `continues`: it follows other text. */
export function encodeRendering(
  tokenizer: Tokenizer,
  { text, data, generation }: Pick<Rendering, "text" | "data" | "generation">,
  memory: SectionMemory = new Map(),
  continues = false,
): EncodedRendering {
  const ids: number[] = [];
  const flags: number[] = [];
  const literal = data.map(({ start, end }): Span => [start, end]);
  for (const section of tokenizer.sections(text, literal)) {
    const sectionIds = encodeSection(tokenizer, section, memory, continues);
    for (const id of sectionIds) ids.push(id);
    const inside = overlapping(generation, section);
    if (inside.length === 0) for (const _ of sectionIds) flags.push(0);
    else for (const flag of sectionFlags(tokenizer, section, sectionIds, inside)) flags.push(flag);
  }
  return { ids, isGenerated: Uint8Array.from(flags) };
}

function encodeSection(
  tokenizer: Tokenizer,
  { start, text, id }: TextSection,
  memory: SectionMemory,
  continues: boolean,
): readonly number[] {
  if (id !== null) return [id];
  const isLater = continues || start > 0;
  const key = `${isLater ? "+" : "-"}${text}`;
  const known = memory.get(key);
  if (known !== undefined) return known;
  const ids = tokenizer.encode(text, { continues: isLater });
  memory.set(key, ids);
  return ids;
}

function overlapping(spans: readonly Span[], { start, text }: TextSection): Span[] {
  return spans.filter(([from, to]) => from < start + text.length && to > start);
}

/** [ids.length] 1 on the tokens of a section that hold a character of the spans. */
function sectionFlags(
  tokenizer: Tokenizer,
  section: TextSection,
  ids: readonly number[],
  spans: readonly Span[],
): Uint8Array {
  const flags = new Uint8Array(ids.length);
  for (const [from, to] of spans) {
    const first = tokenAt(tokenizer, section, ids, from - section.start, "before");
    flags.fill(1, first, tokenAt(tokenizer, section, ids, to - section.start, "after"));
  }
  return flags;
}

/** Tokens of a conversation, as the template renders it. @throws FormatError if the template refuses the messages */
export function encodeChat(
  tokenizer: Tokenizer,
  template: ChatTemplate,
  messages: readonly Message[],
  options: RenderOptions = {},
  memory?: SectionMemory,
): EncodedRendering {
  return encodeRendering(tokenizer, template.rendering(messages, options), memory);
}

/** Number of tokens that end before an offset of the section's text; with "after", counting the one across it.
 *  Found by encoding the text up to there: the ids agree up to the piece that holds the offset, bytes tell the rest. */
function tokenAt(
  tokenizer: Tokenizer,
  { start, text, id }: TextSection,
  ids: readonly number[],
  offset: number,
  side: "before" | "after",
): number {
  if (offset <= 0) return 0;
  if (offset >= text.length) return ids.length;
  if (id !== null) return side === "before" ? 0 : 1;
  const upTo = tokenizer.encode(text.slice(0, offset), { continues: start > 0 });
  const length = (one: number | undefined): number =>
    one === undefined ? 0 : tokenizer.tokenBytes(one).length;
  let count = commonLength(upTo, ids);
  let missing = upTo.slice(count).reduce((sum, one) => sum + length(one), 0);
  while (count < ids.length && missing > 0) {
    missing -= length(ids[count]);
    if (missing < 0 && side === "before") break;
    count++;
  }
  return count;
}

/** A prompt as tokens. */
export interface EncodedPrompt {
  readonly ids: readonly number[];
  /** Where the first answer that is part of it begins; its end where there is none. */
  readonly answerStart: number;
}

/** What generation sends to have a conversation answered: the template over the messages, with the generation prompt. Models
 *  without a template get the contents as plain text, a blank line between.
 *  @throws FormatError if the template refuses the messages */
export function encodePrompt(
  chat: ChatText,
  messages: readonly Message[],
  options: RenderOptions = {},
  memory: SectionMemory = new Map(),
): EncodedPrompt {
  const { tokenizer, template } = chat;
  if (template === null) {
    const ids = encodeRaw(tokenizer, messages.map(contentText).join("\n\n"));
    return { ids, answerStart: ids.length };
  }
  const asking = { ...options, addGenerationPrompt: true };
  const { ids } = encodeChat(tokenizer, template, messages, asking, memory);
  const first = messages.findIndex(({ role }) => role === "assistant");
  if (first < 0) return { ids, answerStart: ids.length };
  const before = attempt(() => encodePrompt(chat, messages.slice(0, first), options, memory));
  return { ids, answerStart: before === null ? ids.length : commonLength(before.ids, ids) };
}

/** A prompt and its rendering part: what stands in each from there on. */
export interface Departure {
  readonly prompt: string;
  readonly rendered: string;
}

/** An assistant turn as it is in use. */
export interface EncodedTurn {
  /** What generation would send, then what the template adds for the answer. */
  readonly ids: Int32Array;
  /** [ids.length] 1 on the tokens to learn. */
  readonly isLabel: Uint8Array;
  /** Tokens that generation would send. */
  readonly promptLength: number;
  /** Text that the template writes in front of the answer and the prompt does not have; "" mostly. */
  readonly leadIn: string;
  /** Where the prompt is not what the rendering begins with; null mostly. */
  readonly departure: Departure | null;
  readonly prompt: Rendering;
  readonly whole: Rendering;
}

/** The last message of a conversation as it is asked for and as it is rendered. */
interface RenderedTurn {
  readonly prompt: Rendering;
  readonly whole: Rendering;
  /** Characters that both begin with. */
  readonly common: number;
  /** The rendering begins with all of the prompt. */
  readonly continued: boolean;
}

function renderTurn(
  template: ChatTemplate,
  messages: readonly Message[],
  options: RenderOptions,
): RenderedTurn {
  const prompt = template.rendering(messages.slice(0, -1), { ...options, addGenerationPrompt: true });
  const whole = template.rendering(messages, options);
  const continued = whole.text.startsWith(prompt.text);
  const common = continued ? prompt.text.length : commonLength(prompt.text, whole.text);
  return { prompt, whole, common, continued };
}

/** The last message, an assistant's, as a training sequence. Prompt: the template over the messages before it, with the generation
 *  prompt, token for token what generation sends. Completion: what the template over all messages adds, all of it learned, or what
 *  `{% generation %}` marks where the template has such blocks.
 *
 *  Where the prompt is not a prefix of the rendering, they agree up to a token boundary; the rest of the prompt stays, given (or
 *  learned, where a generation block holds it), and the rest of the rendering follows it.
 *  @throws FormatError if the template refuses the messages */
export function encodeTurn(
  { tokenizer, template }: { readonly tokenizer: Tokenizer; readonly template: ChatTemplate },
  messages: readonly Message[],
  options: RenderOptions = {},
  memory: SectionMemory = new Map(),
): EncodedTurn {
  const { prompt, whole, common, continued } = renderTurn(template, messages, options);
  const given = encodeRendering(tokenizer, prompt, memory);
  const all = encodeRendering(tokenizer, whole, memory);
  const shared = commonLength(given.ids, all.ids);
  // Merged across the border: generation sends the prompt's own tokens, so the rest is encoded by itself.
  const isSplit = continued && shared < given.ids.length;
  const rest = isSplit
    ? encodeRendering(tokenizer, after(whole, prompt.text.length), memory, true)
    : { ids: all.ids.slice(shared), isGenerated: all.isGenerated.slice(shared) };
  const promptLength = given.ids.length;
  const isLabel = new Uint8Array(promptLength + rest.ids.length);
  if (!template.hasGeneration) isLabel.fill(1, promptLength);
  else {
    if (!continued) isLabel.set(given.isGenerated.slice(shared), shared);
    isLabel.set(rest.isGenerated, promptLength);
  }
  isLabel[0] = 0;
  return {
    ids: Int32Array.from([...given.ids, ...rest.ids]),
    isLabel,
    promptLength,
    leadIn: leadIn(whole, common, messages.length - 1),
    departure: continued ? null : { prompt: prompt.text.slice(common), rendered: whole.text.slice(common) },
    prompt,
    whole,
  };
}

/** A rendering from an offset on. */
function after(
  { text, data, generation }: Rendering,
  from: number,
): Pick<Rendering, "text" | "data" | "generation"> {
  const moved = (offset: number): number => Math.max(0, offset - from);
  return {
    text: text.slice(from),
    data: data
      .filter(({ end }) => end > from)
      .map((span): DataSpan => ({ ...span, start: moved(span.start), end: moved(span.end) })),
    generation: generation
      .filter(([, end]) => end > from)
      .map(([start, end]): Span => [moved(start), moved(end)]),
  };
}

/** A stretch of a rendering holds something that a message says: its content, or another field than the role. */
export function isSaidIn({ path }: DataSpan, messageIndex: number): boolean {
  const message = `messages[${messageIndex}].`;
  return path.startsWith(message) && path !== `${message}role`;
}

/** Template text from an offset up to the first character of a message. */
function leadIn({ text, data }: Rendering, from: number, messageIndex: number): string {
  const first = data.find((span) => span.end > from && isSaidIn(span, messageIndex));
  return first === undefined ? "" : text.slice(from, Math.max(from, first.start));
}

/** What the template writes in front of every answer to these messages although their prompt lacks it, as generated text shows it:
 *  a model that was trained on such turns writes it first, and it is no part of the answer. "" mostly. */
export function answerLeadIn(
  { tokenizer, template }: ChatText,
  messages: readonly Message[],
  options: RenderOptions = {},
): string {
  if (template === null) return "";
  const answered: Message[] = [...messages, { role: "assistant", content: "x" }];
  const turn = attempt(() => renderTurn(template, answered, options));
  const lead = turn === null ? "" : leadIn(turn.whole, turn.common, messages.length);
  return lead === "" ? "" : tokenizer.decode(tokenizer.encode(lead, { special: true }));
}

const markups = new WeakMap<ChatTemplate, ReadonlySet<number>>();

/** Special tokens that a template writes around a user's message. */
export function chatMarkup(template: ChatTemplate, tokenizer: Tokenizer): ReadonlySet<number> {
  const known = markups.get(template);
  if (known !== undefined) return known;
  const asked = attempt(() =>
    encodeChat(tokenizer, template, [{ role: "user", content: "x" }], { addGenerationPrompt: true }),
  );
  const markup = new Set((asked?.ids ?? []).filter((id) => tokenizer.isSpecial(id)));
  markups.set(template, markup);
  return markup;
}

/** What `make` gives, or null where a template refuses. */
export function attempt<T>(make: () => T): T | null {
  try {
    return make();
  } catch (error) {
    if (error instanceof LowrankError) return null;
    throw error;
  }
}
