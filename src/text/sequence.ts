import { FormatError } from "../errors.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Tokens of one text or a pair, special tokens included. */
export interface EncodedSequence {
  readonly ids: readonly number[];
  /** Which sequence of the pair each token counts to, 0 or 1. */
  readonly types: readonly number[];
  /** Tokens that did not fit. */
  readonly cut: number;
}

/** Encodes a text or a pair, with the special tokens that the tokenizer puts around them. What exceeds `maxLength` tokens is
 *  cut at the ends, of a pair from the longer text first. */
export type SequenceEncoder = (first: string, second: string | null, maxLength: number) => EncodedSequence;

/** A special token, or the place of the first or second text. */
type Piece = { readonly type: number } & ({ readonly ids: readonly number[] } | { readonly text: 0 | 1 });

interface Template {
  readonly single: readonly Piece[];
  readonly pair: readonly Piece[];
}

type Json = Readonly<Record<string, unknown>>;

const PLAIN: Template = {
  single: [{ text: 0, type: 0 }],
  pair: [0, 1].map((i) => ({ text: i as 0 | 1, type: i })),
};

/** Encoder of sequences by the `post_processor` of a tokenizer.json. @throws FormatError if that is malformed */
export function sequenceEncoder(tokenizer: Tokenizer, tokenizerJson: Json): SequenceEncoder {
  const template = templateOf(tokenizerJson.post_processor) ?? PLAIN;
  return (first, second, maxLength) => {
    const pieces = second === null ? template.single : template.pair;
    const texts = [first, ...(second === null ? [] : [second])].map((text) => tokenizer.encode(text));
    const added = pieces.reduce((n, p) => n + ("ids" in p ? p.ids.length : 0), 0);
    const kept = cutLongest(texts, Math.max(0, maxLength - added));
    const parts = pieces.map((p) => ("ids" in p ? p.ids : (kept[p.text] ?? [])));
    const count = (list: readonly (readonly number[])[]): number =>
      list.reduce((n, ids) => n + ids.length, 0);
    return {
      ids: parts.flat(),
      types: parts.flatMap((ids, i) => ids.map(() => pieces[i]?.type ?? 0)),
      cut: count(texts) - count(kept),
    };
  };
}

/** `longest_first` of the tokenizers library: only the longer text is cut if that suffices, else both to halves, of which the
 *  longer text gets the larger. */
function cutLongest(texts: readonly (readonly number[])[], room: number): readonly (readonly number[])[] {
  const [first = [], second] = texts;
  if (texts.reduce((n, ids) => n + ids.length, 0) <= room) return texts;
  if (second === undefined) return [first.slice(0, room)];
  const isSwapped = first.length > second.length;
  let short = Math.min(first.length, second.length);
  let long = Math.max(short, room - short);
  if (short + long > room) {
    short = Math.floor(room / 2);
    long = room - short;
  }
  return isSwapped
    ? [first.slice(0, long), second.slice(0, short)]
    : [first.slice(0, short), second.slice(0, long)];
}

/** The template of a post-processor; null for those that add nothing (ByteLevel only changes offsets). */
function templateOf(value: unknown): Template | null {
  if (typeof value !== "object" || value === null) return null;
  const node = value as Json;
  switch (node.type) {
    case "Sequence":
      return (
        (Array.isArray(node.processors) ? node.processors : []).map(templateOf).find((t) => t !== null) ??
        null
      );
    case "TemplateProcessing":
      return { single: listedPieces(node, "single"), pair: listedPieces(node, "pair") };
    case "BertProcessing":
      return aroundEach(node, 1, 1);
    case "RobertaProcessing":
      return aroundEach(node, 2, 0);
    default:
      return null;
  }
}

/** cls A sep, and cls A sep (sep) B sep. */
function aroundEach(node: Json, separators: number, secondType: number): Template {
  const [cls, sep] = [tokenOf(node, "cls"), tokenOf(node, "sep")];
  const single: Piece[] = [
    { ids: [cls], type: 0 },
    { text: 0, type: 0 },
    { ids: [sep], type: 0 },
  ];
  const between: Piece[] = separators === 2 ? [{ ids: [sep], type: 0 }] : [];
  const second: Piece[] = [
    { text: 1, type: secondType },
    { ids: [sep], type: secondType },
  ];
  return { single, pair: [...single, ...between, ...second] };
}

function tokenOf(node: Json, key: string): number {
  const id = Array.isArray(node[key]) ? (node[key] as unknown[])[1] : undefined;
  if (Number.isSafeInteger(id)) return id as number;
  throw new FormatError("tokenizer.json", `post_processor: expected "${key}" as a token and its id`);
}

function listedPieces(node: Json, key: string): Piece[] {
  const list = node[key];
  if (!Array.isArray(list))
    throw new FormatError("tokenizer.json", `post_processor: expected a list "${key}"`);
  const special = (node.special_tokens ?? {}) as Readonly<
    Record<string, { readonly ids?: readonly number[] }>
  >;
  return list.map((item): Piece => {
    const { SpecialToken: token, Sequence: sequence } = item as Record<
      string,
      { id: string; type_id: number }
    >;
    if (sequence) return { text: sequence.id === "B" ? 1 : 0, type: sequence.type_id };
    const ids = token && special[token.id]?.ids;
    if (!token || !ids)
      throw new FormatError("tokenizer.json", `post_processor: "${key}" has an unknown token`);
    return { ids, type: token.type_id };
  });
}
