import { LowrankError } from "../errors.ts";
import { commonLength } from "../tensor/common-length.ts";
import { attempt, type EncodedTurn, encodeTurn, isSaidIn, type SectionMemory } from "../text/chat-encode.ts";
import type { ChatTemplate } from "../text/chat-template.ts";
import { contentText, type Message, namesInTemplate, type RenderOptions } from "../text/messages.ts";
import { pythonStrip } from "../text/python-text.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Conversation } from "./formats/format.ts";
import type { TakeNote } from "./notes.ts";
import type { EncodedRow, RowNotes, RowSequence, TextCodec } from "./sequence.ts";

/** A codec with a chat template. */
export interface ChatCodec extends TextCodec {
  readonly template: ChatTemplate;
}

/** A learned turn: its index among the messages, and its tokens. */
interface LearnedTurn {
  readonly index: number;
  readonly turn: EncodedTurn;
}

/** The assistant turns of a conversation as training sequences. Turns that cannot be asked for (nothing stands before them, and the
 *  template makes no prompt of that), that are marked as read only, or that lie outside the template's generation blocks are only read.
 *  Reports, and gives null, where a turn's end is not learned or nothing is. */
export function encodeConversation(row: Conversation, codec: ChatCodec, notes: RowNotes): EncodedRow | null {
  const memory: SectionMemory = new Map();
  const options = renderOptions(row);
  const turns: LearnedTurn[] = [];
  const isMarked = markedTurns(row, codec, options);
  for (const index of assistantTurns(row)) {
    if (row.unlearned?.includes(index)) notes.note("excluded");
    else if (!isMarked(index)) notes.note("unmarked");
    else {
      const turn = learnable(row.messages.slice(0, index + 1), codec, options, memory, notes);
      if (turn === "refused") return null;
      if (turn !== "read only") turns.push({ index, turn });
    }
  }
  if (turns.length === 0) {
    const why = "every assistant turn is only read: there is nothing to learn from it";
    notes.report(why, "empty");
    return null;
  }
  takeNotes(row, turns, codec, notes.note);
  const first = firstPrompt(row, turns, codec, options, memory);
  const sequences = joined(turns.map(({ turn }) => sequenceOf(turn, first)));
  if (sequences.length > 1) notes.note("rewritten");
  return sequences;
}

function assistantTurns({ messages }: Conversation): number[] {
  return messages.flatMap(({ role }, index) => (role === "assistant" ? [index] : []));
}

/** Whether the conversation as a whole, up to its last answer, has something of a turn in a generation block; any turn of a template
 *  without such blocks. */
function markedTurns(
  row: Conversation,
  { template }: ChatCodec,
  options: RenderOptions,
): (index: number) => boolean {
  const last = assistantTurns(row).at(-1) ?? 0;
  const whole = template.hasGeneration
    ? attempt(() => template.rendering(row.messages.slice(0, last + 1), options))
    : null;
  if (whole === null) return () => true;
  const marked = whole.data.filter(({ start, end }) =>
    whole.generation.some(([from, to]) => from < end && start < to),
  );
  return (index) => marked.some((span) => isSaidIn(span, index));
}

/** What a row hands to the template beside its messages. */
export function renderOptions({ tools, templateArgs }: Conversation): RenderOptions {
  return { ...(tools ? { tools } : {}), ...(templateArgs ? { extra: templateArgs } : {}) };
}

/** The last message of a conversation as a turn to learn; "read only" where it cannot be asked for or is not marked, "refused" where
 *  the row cannot be trained on, which is reported. */
function learnable(
  messages: readonly Message[],
  codec: ChatCodec,
  options: RenderOptions,
  memory: SectionMemory,
  { report, note }: RowNotes,
): EncodedTurn | "read only" | "refused" {
  const isOpening = messages.slice(0, -1).every(({ role }) => role === "system" || role === "developer");
  let turn: EncodedTurn;
  try {
    turn = encodeTurn(codec, messages, options, memory);
  } catch (error) {
    if (!(error instanceof LowrankError)) throw error;
    if (isOpening && attempt(() => codec.template.render(messages, options)) !== null) {
      note("opening");
      return "read only";
    }
    report(error.message); // templates refuse conversations by raising
    return "refused";
  }
  if (!showsMessage(turn, messages.length - 1)) {
    report("has no token to learn: the chat template shows nothing the assistant says");
    return "refused";
  }
  if (!turn.isLabel.includes(1)) {
    note("unmarked");
    return "read only";
  }
  return endsLearned(turn, codec, report) ? turn : "refused";
}

/** Something of a message stands in the rendering behind the prompt. */
function showsMessage({ whole, ids, promptLength }: EncodedTurn, index: number): boolean {
  return ids.length > promptLength && whole.data.some((span) => isSaidIn(span, index));
}

function endsLearned({ ids, isLabel }: EncodedTurn, codec: TextCodec, report: RowNotes["report"]): boolean {
  if (ids.some((id, i) => isLabel[i] === 1 && codec.eosIds.includes(id))) return true;
  const ends = codec.eosIds.map((id) => codec.tokenizer.token(id) ?? `id ${id}`).join(", ");
  report(
    `the end of an assistant turn is not learned: generation stops at ${ends}, and no such token is among the labels of the turn, so the model would never learn to stop`,
  );
  return false;
}

/** Ids of the prompt of the first answer; null where the template makes none. */
function firstPrompt(
  row: Conversation,
  turns: readonly LearnedTurn[],
  codec: ChatCodec,
  options: RenderOptions,
  memory: SectionMemory,
): Int32Array | null {
  const [first = 0] = assistantTurns(row);
  const known = turns.find(({ index }) => index === first)?.turn;
  const turn = known ?? attempt(() => encodeTurn(codec, row.messages.slice(0, first + 1), options, memory));
  return turn === null ? null : turn.ids.subarray(0, turn.promptLength);
}

type OpenSequence = RowSequence & { readonly answerStart: number };

function sequenceOf({ ids, isLabel, promptLength }: EncodedTurn, first: Int32Array | null): OpenSequence {
  const answerStart = first === null ? promptLength : Math.max(1, commonLength(first, ids));
  return { ids, isLabel, completionLength: ids.length - promptLength, answerStart };
}

/** Sequences of which none is the beginning of another: a later one that begins like it has its labels too. */
function joined(sequences: readonly OpenSequence[]): RowSequence[] {
  let kept: OpenSequence[] = [];
  for (const sequence of sequences) {
    const isBeginning = ({ ids }: OpenSequence): boolean => commonLength(ids, sequence.ids) === ids.length;
    const isLabel = sequence.isLabel.slice();
    for (const earlier of kept.filter(isBeginning))
      earlier.isLabel.forEach((label, i) => {
        isLabel[i] = (isLabel[i] as number) | label;
      });
    kept = [...kept.filter((earlier) => !isBeginning(earlier)), { ...sequence, isLabel }];
  }
  return kept.map(({ answerStart, ...rest }) =>
    answerStart === rest.isLabel.indexOf(1) ? rest : { ...rest, answerStart },
  );
}

const SHOWN_CHARACTERS = 60;

/** A text in quotes, its beginning if it is long. */
function quoted(text: string): string {
  const characters = Array.from(text);
  return JSON.stringify(
    characters.length > SHOWN_CHARACTERS ? `${characters.slice(0, SHOWN_CHARACTERS).join("")}…` : text,
  );
}

/** Notes what the template makes of a row that nobody would expect. */
function takeNotes(
  row: Conversation,
  turns: readonly LearnedTurn[],
  { tokenizer }: ChatCodec,
  note: TakeNote,
): void {
  for (const { index, turn } of turns) {
    const { departure, leadIn, whole } = turn;
    if (departure)
      note(
        "departure",
        `${quoted(departure.prompt)} in the prompt, ${quoted(departure.rendered)} in the conversation`,
      );
    if (leadIn.trim() !== "") note("leadIn", quoted(leadIn));
    if (isCut(row.messages[index] as Message, shownLength(whole, index))) note("hidden", "the assistant");
  }
  const last = (turns.at(-1) as LearnedTurn).turn.whole;
  const lastIndex = (turns.at(-1) as LearnedTurn).index;
  for (const [i, message] of row.messages.slice(0, lastIndex).entries())
    if (message.role !== "assistant" && contentText(message).trim() !== "" && shownLength(last, i) === 0)
      note("hidden", `the ${message.role}`);
  for (const field of unusedFields(row, turns)) note("field", field);
  for (const token of literalTokens(last, tokenizer)) note("literal", token);
}

/** Characters of a message's content that a rendering shows, white space apart. */
function shownLength({ text, data }: EncodedTurn["whole"], index: number): number {
  const path = `messages[${index}].content`;
  return data
    .filter((span) => span.path.startsWith(path))
    .reduce((n, { start, end }) => n + bare(text.slice(start, end)).length, 0);
}

const bare = (text: string): string => text.replace(/\s+/gu, "");

/** A rendering shows less than a content holds; tags around thoughts are the template's to write. */
function isCut(message: Message, shown: number): boolean {
  return shown < bare(pythonStrip(contentText(message)).replace(/<\/?\w{1,20}>/gu, "")).length;
}

/** Fields of ours, or that every template has. */
const KNOWN_FIELDS: ReadonlySet<string> = new Set(["role", "content", "weight", "train", "training", "loss"]);

/** Fields of the messages, and the tools, that hold something and that no rendering read. */
function unusedFields(row: Conversation, turns: readonly LearnedTurn[]): Set<string> {
  const isRead = (path: string): boolean =>
    turns.some(({ turn }) => turn.whole.read.has(path) || turn.prompt.read.has(path));
  const unused = new Set<string>();
  const last = turns.at(-1)?.index ?? 0;
  for (const [i, message] of row.messages.slice(0, last + 1).entries())
    for (const [field, value] of Object.entries(message))
      if (
        !KNOWN_FIELDS.has(field) &&
        holdsSomething(value) &&
        !namesInTemplate(message, field).some((name) => isRead(`messages[${i}].${name}`))
      )
        unused.add(`"${field}" of the ${message.role}`);
  if (row.tools?.length && !isRead("tools")) unused.add('"tools"');
  for (const name of Object.keys(row.templateArgs ?? {}))
    if (!isRead(name)) unused.add(`"chat_template_kwargs.${name}"`);
  return unused;
}

function holdsSomething(value: unknown): boolean {
  return (
    value !== null && value !== undefined && value !== "" && !(Array.isArray(value) && value.length === 0)
  );
}

/** Special tokens of the model that the data of a rendering spell. */
function literalTokens({ text, data }: EncodedTurn["whole"], tokenizer: Tokenizer): Set<string> {
  const found = new Set<string>();
  for (const { start, end } of data)
    for (const section of tokenizer.sections(text.slice(start, end)))
      if (section.id !== null) found.add(section.text.trim());
  return found;
}
