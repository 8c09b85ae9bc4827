import { LowrankError } from "../errors.ts";
import { type EncodedChat, encodeChat } from "../text/chat-encode.ts";
import type { ChatTemplate } from "../text/chat-template.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Example } from "./batch.ts";
import type { Conversation, Labelled, PlainText, Report, Row } from "./formats/format.ts";

/** How text becomes one model's tokens. */
export interface TextCodec {
  readonly tokenizer: Tokenizer;
  /** Null for models without one. */
  readonly template: ChatTemplate | null;
  /** Ids that end generation. */
  readonly eosIds: readonly number[];
}

/** Which tokens are labels: what the assistant says, or everything. */
export type LossOn = "completions" | "all";

/** Tokens of a row before it is made to fit. */
export interface EncodedRow {
  readonly ids: Int32Array;
  readonly isLabel: Uint8Array;
  /** Tokens at the end that may not be lost: the last completion; 0 for plain text, which may be cut anywhere. */
  readonly completionLength: number;
  /** False where the template rewrites content, so that labels were found by comparing text (see encodeChat). */
  readonly isExact: boolean;
  /** As in `Example`. */
  readonly answerStart?: number;
}

/** Tokens and labels of a row: a conversation by the chat template (without one: prompt, completion, EOS), plain text
 *  as [BOS] text EOS. After the last answer the
 *  template's closing text is a label too; turns that follow it are cut, for no loss depends on them.
 *  Reports, and gives null, where training on the row would teach something wrong: a double BOS, an assistant turn
 *  whose end is not learned, nothing to learn. */
export function encodeRow(row: Row, codec: TextCodec, lossOn: LossOn, report: Report): EncodedRow | null {
  const encoded =
    row.kind === "conversation" ? encodeConversation(row, codec, report) : encodeText(row, codec, report);
  if (encoded === null) return null;
  const { isAssistant, isExact } = encoded;
  const ids = Int32Array.from(encoded.ids);
  if (!checkTokens(ids, isAssistant, codec, report)) return null;
  const isLabel = lossOn === "all" ? new Uint8Array(ids.length).fill(1) : isAssistant.slice();
  isLabel[0] = 0;
  // TRL counts what the template writes after the last answer (ChatML: a newline) as completion; so losses compare.
  const answered = isAssistant.lastIndexOf(1) + 1;
  const length =
    row.kind === "conversation" && row.messages.at(-1)?.role === "assistant" ? ids.length : answered;
  isLabel.fill(1, answered, length);
  const completionLength =
    row.kind !== "conversation" ? 0 : length - 1 - isAssistant.lastIndexOf(0, answered - 1);
  const answer = lossOn === "all" && row.kind === "conversation" ? isAssistant.indexOf(1) : 0;
  return {
    ids: ids.slice(0, length),
    isLabel: isLabel.slice(0, length),
    completionLength,
    isExact,
    ...(answer > 0 ? { answerStart: answer } : {}),
  };
}

/** Of a row with a label a decoder learns the text. */
function encodeText(row: PlainText | Labelled, codec: TextCodec, report: Report): EncodedChat | null {
  if (row.kind === "labelled" && row.pair !== null) {
    report("is a pair of texts with a label: only an encoder (bert, roberta) learns from it");
    return null;
  }
  const bos = leadingBos(codec.tokenizer);
  const eos = endToken(codec.tokenizer, report);
  if (eos === null) return null;
  const ids = [...bos, ...codec.tokenizer.encode(row.text), eos];
  return { ids, isAssistant: new Uint8Array(ids.length).fill(1), isExact: true };
}

function encodeConversation(row: Conversation, codec: TextCodec, report: Report): EncodedChat | null {
  if (codec.template === null) return encodePair(row, codec, report);
  try {
    return encodeChat(codec.tokenizer, codec.template, row.messages);
  } catch (error) {
    if (!(error instanceof LowrankError)) throw error;
    report(error.message); // templates refuse conversations by raising
    return null;
  }
}

/** Prompt and completion as they stand, each encoded by itself: at generation the prompt is encoded alone too. */
function encodePair(row: Conversation, codec: TextCodec, report: Report): EncodedChat | null {
  const system = row.messages[0]?.role === "system" ? row.messages[0] : undefined;
  const [user, assistant, ...more] = system === undefined ? row.messages : row.messages.slice(1);
  if (user?.role !== "user" || assistant?.role !== "assistant" || more.length > 0) {
    const turns = row.messages.map((message) => message.role).join(", ");
    report(`the model has no chat template, so a row must be one prompt and one completion; got ${turns}`);
    return null;
  }
  const eos = endToken(codec.tokenizer, report);
  if (eos === null) return null;
  const text = system === undefined ? user.content : `${system.content}\n\n${user.content}`;
  const prompt = [...leadingBos(codec.tokenizer), ...codec.tokenizer.encode(text)];
  const continues = text !== "";
  const completion = [...codec.tokenizer.encode(assistant.content, { continues }), eos];
  const ids = [...prompt, ...completion];
  return { ids, isAssistant: new Uint8Array(ids.length).fill(1, prompt.length), isExact: true };
}

function leadingBos(tokenizer: Tokenizer): number[] {
  return tokenizer.addBos && tokenizer.bosId !== null ? [tokenizer.bosId] : [];
}

function endToken(tokenizer: Tokenizer, report: Report): number | null {
  if (tokenizer.eosId === null)
    report("the tokenizer has no EOS token, so the model could not learn to stop");
  return tokenizer.eosId;
}

function checkTokens(ids: Int32Array, isAssistant: Uint8Array, codec: TextCodec, report: Report): boolean {
  const { bosId } = codec.tokenizer;
  if (bosId !== null && ids[0] === bosId && ids[1] === bosId) {
    report(`starts with two BOS tokens (${codec.tokenizer.token(bosId)}): the chat template writes its own`);
    return false;
  }
  if (isAssistant.lastIndexOf(1) < 1) {
    report("has no token to learn: the chat template shows nothing the assistant says");
    return false;
  }
  if (everyTurnEnds(ids, isAssistant, codec.eosIds)) return true;
  const ends = codec.eosIds.map((id) => codec.tokenizer.token(id) ?? `id ${id}`).join(", ");
  report(
    `the end of an assistant turn is not learned: generation stops at ${ends}, and no such token is among the labels of the turn, so the model would never learn to stop`,
  );
  return false;
}

/** Every run of assistant tokens holds a token that ends generation. */
function everyTurnEnds(ids: Int32Array, isAssistant: Uint8Array, eosIds: readonly number[]): boolean {
  let ended = true;
  for (let i = 0; i < ids.length; i++) {
    if (isAssistant[i] === 0) {
      if (!ended) return false;
    } else {
      const opens = i === 0 || isAssistant[i - 1] === 0;
      ended = (!opens && ended) || eosIds.includes(ids[i] as number);
    }
  }
  return ended;
}

/** A stretch of an example's text, for showing what is learned and what is only read. */
export interface PreviewSegment {
  readonly text: string;
  readonly isLabel: boolean;
}

/** The example as text, cut where labels begin and end; special tokens are shown. */
export function previewExample(example: Example, tokenizer: Tokenizer): PreviewSegment[] {
  const segments: PreviewSegment[] = [];
  for (let start = 0; start < example.ids.length; ) {
    const isLabel = example.isLabel[start] === 1;
    const next = example.isLabel.indexOf(isLabel ? 0 : 1, start);
    const end = next < 0 ? example.ids.length : next;
    // Bytes, not `decode`: that would drop the space a segment starts with under some tokenizers.
    const bytes = Array.from(example.ids.subarray(start, end), (id) => tokenizer.tokenBytes(id));
    segments.push({ text: Buffer.concat(bytes).toString("utf8"), isLabel });
    start = end;
  }
  return segments;
}
