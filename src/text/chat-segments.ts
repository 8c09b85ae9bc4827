import type { Span } from "./added-tokens.ts";
import type { Message, RenderOptions } from "./messages.ts";
import { pythonStrip } from "./python-text.ts";

/** A stretch of a rendered conversation. */
export interface Segment {
  readonly text: string;
  /** Written by the template: special tokens in it are real. False for message content, where they are literal. */
  readonly isTemplate: boolean;
  /** Message the content comes from; null for template text. */
  readonly messageIndex: number | null;
  /** Content of an assistant message: what a model learns to write. */
  readonly isAssistantContent: boolean;
}

/** A rendered conversation in segments that join to exactly the plain rendering. */
export interface RenderedSegments {
  readonly segments: readonly Segment[];
  /** False where the template looks into the content (searches or rewrites it), so that content was found by
   *  comparing text: a span may then be missing or too short, never outside its message. Say so to the user. */
  readonly isExact: boolean;
}

interface Content {
  readonly messageIndex: number;
  readonly span: Span;
}

type Render = (messages: readonly Message[], options: RenderOptions) => string;

/** Cuts a rendering into template text and message content.
 *
 *  The conversation is rendered again with each content between two private-use characters; without them the result
 *  must equal the plain rendering. Templates that trim content trim around the marks, so they are tried again inside
 *  the content's outer white space. Templates that repeat content give several spans, those that drop it none. */
export function cutSegments(
  render: Render,
  messages: readonly Message[],
  options: RenderOptions,
): RenderedSegments {
  const plain = render(messages, options);
  const marks = chooseMarks(plain, messages);
  for (const inside of marks === null ? [] : [false, true]) {
    const found = marks && markedContents(render, messages, options, plain, marks, inside);
    if (found) return { segments: segmentsOf(plain, found.contents, messages), isExact: found.isExact };
  }
  return { segments: segmentsOf(plain, searchContents(plain, messages), messages), isExact: false };
}

/** Two marks per message, from a plane of private-use characters that the conversation does not use. */
interface Marks {
  readonly base: number;
}

const PRIVATE_PLANES = [0xf0000, 0x100000];
const PLANE_SIZE = 0xfffe;

function chooseMarks(plain: string, messages: readonly Message[]): Marks | null {
  const text = plain + messages.map((m) => m.content).join("");
  const used = new Set(Array.from(text, (c) => (c.codePointAt(0) ?? 0) & ~0xffff));
  const base = PRIVATE_PLANES.find((plane) => !used.has(plane));
  return base === undefined || 2 * messages.length > PLANE_SIZE ? null : { base };
}

function markedContents(
  render: Render,
  messages: readonly Message[],
  options: RenderOptions,
  plain: string,
  marks: Marks,
  inside: boolean,
): { readonly contents: Content[]; readonly isExact: boolean } | null {
  const marked = messages.map((m, i) => ({ ...m, content: mark(m.content, marks.base + 2 * i, inside) }));
  let rendered: string;
  try {
    rendered = render(marked, options);
  } catch {
    return null; // the template reads the content and refuses the marks
  }
  const { text, events } = unmark(rendered, marks);
  return text === plain ? contentsOf(plain, events, messages) : null;
}

function mark(content: string, open: number, inside: boolean): string {
  const core = inside ? pythonStrip(content) : content;
  const start = inside ? content.length - pythonStrip(content, "lstrip").length : 0;
  const [before, after] = [content.slice(0, start), content.slice(start + core.length)];
  return before + String.fromCodePoint(open) + core + String.fromCodePoint(open + 1) + after;
}

/** A mark, at an offset of the unmarked text. */
interface MarkEvent {
  readonly messageIndex: number;
  readonly isOpen: boolean;
  readonly at: number;
}

function unmark(
  rendered: string,
  { base }: Marks,
): { readonly text: string; readonly events: readonly MarkEvent[] } {
  const events: MarkEvent[] = [];
  let text = "";
  let from = 0;
  const pattern = new RegExp(`[\\u{${base.toString(16)}}-\\u{${(base + PLANE_SIZE).toString(16)}}]`, "gu");
  for (const match of rendered.matchAll(pattern)) {
    text += rendered.slice(from, match.index);
    from = match.index + match[0].length;
    const n = (match[0].codePointAt(0) ?? base) - base;
    events.push({ messageIndex: n >> 1, isOpen: (n & 1) === 0, at: text.length });
  }
  return { text: text + rendered.slice(from), events };
}

/** Spans between paired marks. A template that cuts content up loses one of a pair: the span then reaches as far from
 *  the mark that is left as text and content agree. */
function contentsOf(
  plain: string,
  events: readonly MarkEvent[],
  messages: readonly Message[],
): { readonly contents: Content[]; readonly isExact: boolean } {
  const contents: Content[] = [];
  let isExact = true;
  for (let i = 0, end = 0; i < events.length; i++) {
    const { messageIndex, isOpen, at } = events[i] as MarkEvent;
    const content = messages[messageIndex]?.content ?? "";
    const next = events[i + 1];
    let span: Span;
    if (isOpen && next && !next.isOpen && next.messageIndex === messageIndex) {
      span = [at, next.at];
      i++;
    } else {
      isExact = false;
      span = isOpen
        ? [at, at + commonPrefix(plain, at, content).length]
        : [Math.max(end, at - commonSuffix(plain, at, content).length), at];
    }
    if (span[1] > span[0]) contents.push({ messageIndex, span });
    end = Math.max(end, span[1]);
  }
  return { contents, isExact };
}

/** Start of the content that stands at an offset; white space before the point where they part is the template's. */
function commonPrefix(text: string, at: number, content: string): string {
  let n = 0;
  while (n < content.length && text[at + n] === content[n]) n++;
  return n === content.length ? content : pythonStrip(content.slice(0, n), "rstrip");
}

/** End of the content that stands before an offset, likewise. */
function commonSuffix(text: string, at: number, content: string): string {
  let n = 0;
  while (n < content.length && n < at && text[at - 1 - n] === content[content.length - 1 - n]) n++;
  return n === content.length ? content : pythonStrip(content.slice(content.length - n), "lstrip");
}

/** Contents found in the plain text one after the other, whole or trimmed. */
function searchContents(plain: string, messages: readonly Message[]): Content[] {
  const contents: Content[] = [];
  let from = 0;
  messages.forEach(({ content }, messageIndex) => {
    for (const text of [content, pythonStrip(content)]) {
      const at = text === "" ? -1 : plain.indexOf(text, from);
      if (at < 0) continue;
      from = at + text.length;
      contents.push({ messageIndex, span: [at, from] });
      return;
    }
  });
  return contents;
}

function segmentsOf(plain: string, contents: readonly Content[], messages: readonly Message[]): Segment[] {
  const segments: Segment[] = [];
  let end = 0;
  const template = (until: number): void => {
    if (until <= end) return;
    const text = plain.slice(end, until);
    segments.push({ text, isTemplate: true, messageIndex: null, isAssistantContent: false });
  };
  for (const { messageIndex, span } of contents) {
    template(span[0]);
    const text = plain.slice(span[0], span[1]);
    const isAssistantContent = messages[messageIndex]?.role === "assistant";
    segments.push({ text, isTemplate: false, messageIndex, isAssistantContent });
    end = span[1];
  }
  template(plain.length);
  return segments;
}
