import { FormatError } from "../errors.ts";
import type { TokenizerSource } from "../formats/model.ts";
import { type AddedToken, type Span, splitter, type TextSection } from "./added-tokens.ts";
import { pieceBytes } from "./piece-bytes.ts";
import { openPipeline, type Pipeline } from "./pipeline.ts";

/** Encoder and decoder of one model's tokens. */
export interface Tokenizer {
  /** Size of the id space, added tokens included. */
  readonly vocabSize: number;
  /** Characters (UTF-16 units) of the longest token: a text of n characters has at least n / longestToken tokens. */
  readonly longestToken: number;
  /** Id of a token's exact text, or undefined. */
  tokenId(token: string): number | undefined;
  /** Text of an id as it stands in the vocabulary. */
  token(id: number): string | undefined;
  /** UTF-8 bytes an id adds to the decoded text; a character may be spread over several ids. Empty for unknown ids. */
  tokenBytes(id: number): Uint8Array;
  /** The id belongs to a special token. */
  isSpecial(id: number): boolean;
  readonly bosId: number | null;
  readonly eosId: number | null;
  readonly padId: number | null;
  /** The model expects a BOS in front of plain text (chat templates write their own). */
  readonly addBos: boolean;
  /** Token ids of text. Special tokens written in the text are recognised only with `special: true` (chat template
   *  output); user text keeps them literal, as `split_special_tokens` does in transformers. Never adds BOS or EOS by
   *  itself. `continues`: the text follows other text, so that no word-start mark is put before it where the
   *  tokenizer does that at the start only. */
  encode(text: string, options?: { readonly special?: boolean; readonly continues?: boolean }): number[];
  /** The text cut at its special tokens, except where they touch a `literal` range. `encode` of each section (with
   *  `continues` for all but the first) gives the ids of the whole. */
  sections(text: string, literal?: readonly Span[]): TextSection[];
  /** Text of ids; special tokens are left out unless `special: true`. Unknown ids add nothing; bytes that are not
   *  UTF-8 become U+FFFD. */
  decode(ids: readonly number[] | Int32Array, options?: { readonly special?: boolean }): string;
}

/** Tokenizer from the contents of tokenizer.json: normalizer and pre-tokenizer by `@huggingface/tokenizers`, BPE, added
 *  tokens and decoding here (the library has no way to leave special tokens literal, drops a byte order mark when
 *  decoding, and is slow on long pieces).
 *  @throws FormatError if tokenizer.json is malformed, UnsupportedError if it names an unknown part. */
export function createTokenizer(source: TokenizerSource): Tokenizer {
  const pipeline = openPipeline(source);
  const added = addedTokens(source, pipeline);
  const encodeText = textEncoder(pipeline, added);
  const special = added.filter((t) => t.special);
  const specialIds = new Set(special.map((t) => t.id));
  const cutSpecial = splitter(special);
  const addedIds = new Map(added.map((t) => [t.content, t.id]));
  const addedText = new Map(added.map((t) => [t.id, t.content]));
  const { vocab, idOf } = pipeline;
  const bytes = pieceBytes(source.tokenizerJson.decoder, vocab, addedText);
  const tokenId = (token: string): number | undefined => addedIds.get(token) ?? idOf.get(token);
  const named = (token: string | null): number | null => (token === null ? null : (tokenId(token) ?? null));

  const encode: Tokenizer["encode"] = (text, options = {}) => {
    const ids: number[] = [];
    const sections = options.special ? cutSpecial(text) : [{ start: 0, text, id: null }];
    for (const section of sections) {
      const continues = options.continues === true || section.start > 0;
      if (section.id === null) encodeText(section.text, continues, ids);
      else ids.push(section.id);
    }
    return ids;
  };

  const longestToken = [...vocab, ...addedText.values()].reduce(
    (n, token) => Math.max(n, token?.length ?? 0),
    1,
  );
  return {
    longestToken,
    vocabSize: Math.max(vocab.length, ...added.map((t) => t.id + 1)),
    tokenId,
    token: (id) => addedText.get(id) ?? vocab[id],
    tokenBytes: bytes.of,
    isSpecial: (id) => specialIds.has(id),
    bosId: named(source.bosToken),
    eosId: named(source.eosToken),
    padId: named(source.padToken),
    addBos: source.addBos,
    encode,
    sections: cutSpecial,
    decode(ids, options = {}) {
      const shown = options.special ? ids : ids.filter((id) => !specialIds.has(id));
      return bytes.join(Array.from(shown, bytes.of));
    },
  };
}

/** The added tokens of tokenizer.json; bos, eos, pad and unk count as special even where the file does not say so,
 *  as in transformers. */
function addedTokens(source: TokenizerSource, pipeline: Pipeline): AddedToken[] {
  const listed = (source.tokenizerJson.added_tokens ?? []) as readonly Partial<AddedToken>[];
  const tokens = new Map<string, AddedToken>();
  for (const { content, id, ...flags } of listed) {
    if (typeof content !== "string" || typeof id !== "number") {
      throw new FormatError(
        "tokenizer.json",
        `added token without content and id: ${JSON.stringify(content)}`,
      );
    }
    if (content !== "") tokens.set(content, { content, id, ...flags });
  }
  for (const name of [source.bosToken, source.eosToken, source.padToken, source.unkToken]) {
    const id = name === null ? undefined : (tokens.get(name)?.id ?? pipeline.idOf.get(name));
    if (name !== null && name !== "" && id !== undefined)
      tokens.set(name, { ...tokens.get(name), content: name, id, special: true });
  }
  return [...tokens.values()];
}

/** Encoder of text whose special tokens have been cut out or are literal; appends to `ids`. */
function textEncoder(
  pipeline: Pipeline,
  added: readonly AddedToken[],
): (text: string, continues: boolean, ids: number[]) => void {
  const plain = added.filter((t) => !t.special);
  const onNormalized = (t: AddedToken): boolean => pipeline.normalizes && t.normalized === true;
  const cutRaw = splitter(plain.filter((t) => !onNormalized(t)));
  const normalized = plain.filter(onNormalized);
  const cutNormalized = splitter(normalized.map((t) => ({ ...t, content: pipeline.normalize(t.content) })));
  const encodePart = (isFirst: boolean): ((text: string) => readonly number[]) =>
    remembering((text) => pipeline.split(text, isFirst).flatMap((piece) => pipeline.encodePiece(piece)));
  const [encodeFirst, encodeLater] = [encodePart(true), encodePart(false)];
  return (text, continues, ids) => {
    for (const raw of cutRaw(text)) {
      if (raw.id !== null) ids.push(raw.id);
      else if (raw.text !== "") {
        const isFirst = !continues && raw.start === 0;
        for (const part of cutNormalized(pipeline.normalize(raw.text))) {
          if (part.id !== null) ids.push(part.id);
          else if (part.text !== "") {
            const encode = isFirst && part.start === 0 ? encodeFirst : encodeLater;
            for (const id of encode(part.text)) ids.push(id);
          }
        }
      }
    }
  };
}

const REMEMBERED_TEXTS = 1_000;
const REMEMBERED_LENGTH = 1_000;

/** Answers again what was asked lately: a chat template writes the same texts around every message. What is remembered is a
 *  copy: a piece cut out of a text would keep the whole of it in memory. */
function remembering<T>(encode: (text: string) => T): (text: string) => T {
  const known = new Map<string, T>();
  return (text) => {
    const before = known.get(text);
    if (before !== undefined) return before;
    const made = encode(text);
    if (text.length > REMEMBERED_LENGTH) return made;
    if (known.size >= REMEMBERED_TEXTS) known.clear();
    known.set(copied(text), made);
    return made;
  };
}

/** The text in memory of its own; unpaired surrogates stay as they are. */
function copied(text: string): string {
  return String.fromCharCode(...Uint16Array.from({ length: text.length }, (_, i) => text.charCodeAt(i)));
}
