import { FormatError } from "../../errors.ts";
import type { GgufFile } from "./file.ts";

/** Token types of GGUF (and SentencePiece). */
export const TokenType = { unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** The vocabulary of a GGUF file, checked. */
export interface GgufVocabulary {
  readonly path: string;
  readonly architecture: string;
  readonly tokens: readonly string[];
  /** One per token; all normal (1) where the file has none. */
  readonly types: readonly number[];
  /** One per token, or empty. */
  readonly scores: readonly number[];
  /** "left right", or empty. */
  readonly merges: readonly string[];
  readonly pre: string | null;
  readonly bosId: number | null;
  readonly eosId: number | null;
  /** null where the file does not say. */
  readonly addBos: boolean | null;
  readonly addSpacePrefix: boolean;
}

/** A rebuilt tokenizer.json, and whether BOS starts every sequence. */
export interface RebuiltTokenizer {
  readonly json: Readonly<Record<string, unknown>>;
  readonly addBos: boolean;
}

/** Parts of a tokenizer.json, in its own terms. */
export interface TokenizerParts {
  /** BOS starts sequences where the file does not say. */
  readonly addBos: boolean;
  readonly normalizer: unknown;
  readonly preTokenizer: unknown;
  /** What follows where BOS is not added. */
  readonly postProcessor: unknown;
  readonly decoder: unknown;
  readonly model: Readonly<Record<string, unknown>>;
}

function list<T>(gguf: GgufFile, key: string, is: (item: unknown) => item is T): readonly T[] {
  const value = gguf.values.get(key) ?? [];
  if (Array.isArray(value) && value.every(is)) return value;
  throw new FormatError(gguf.path, `${key} is not a list of the expected kind`);
}

/** A string. */
export function isText(item: unknown): item is string {
  return typeof item === "string";
}
const isNumber = (item: unknown): item is number => typeof item === "number";

/** Value of a key if it has the expected kind, else null. */
export function scalar<T>(gguf: GgufFile, key: string, is: (item: unknown) => item is T): T | null {
  const value = gguf.values.get(key);
  return is(value) ? value : null;
}

/** Id under `tokenizer.ggml.<kind>_token_id`; null where there is none. @throws FormatError beyond the vocabulary. */
export function tokenIdOf(gguf: GgufFile, kind: string, tokenCount: number): number | null {
  const id = scalar(gguf, `tokenizer.ggml.${kind}_token_id`, isNumber);
  if (id === null || id === 0xffffffff) return null;
  if (Number.isInteger(id) && id >= 0 && id < tokenCount) return id;
  throw new FormatError(
    gguf.path,
    `tokenizer.ggml.${kind}_token_id is ${id}, the vocabulary has ${tokenCount} tokens`,
  );
}

/** The vocabulary keys of a GGUF file. @throws FormatError if they are missing or do not fit together. */
export function readVocabulary(gguf: GgufFile): GgufVocabulary {
  const tokens = list(gguf, "tokenizer.ggml.tokens", isText);
  const types = list(gguf, "tokenizer.ggml.token_type", isNumber);
  const scores = list(gguf, "tokenizer.ggml.scores", isNumber);
  const isFlag = (item: unknown): item is boolean => typeof item === "boolean";
  if (tokens.length === 0) throw new FormatError(gguf.path, "holds no vocabulary (tokenizer.ggml.tokens)");
  for (const [key, { length }] of Object.entries({ token_type: types, scores }))
    if (length !== 0 && length !== tokens.length)
      throw new FormatError(
        gguf.path,
        `tokenizer.ggml.${key} has ${length} items for ${tokens.length} tokens`,
      );
  return {
    path: gguf.path,
    architecture: String(gguf.values.get("general.architecture")),
    tokens,
    types: types.length > 0 ? types : tokens.map(() => 1),
    scores,
    merges: list(gguf, "tokenizer.ggml.merges", isText),
    pre: scalar(gguf, "tokenizer.ggml.pre", isText),
    bosId: tokenIdOf(gguf, "bos", tokens.length),
    eosId: tokenIdOf(gguf, "eos", tokens.length),
    addBos: scalar(gguf, "tokenizer.ggml.add_bos_token", isFlag),
    addSpacePrefix: scalar(gguf, "tokenizer.ggml.add_space_prefix", isFlag) ?? true,
  };
}

/** tokenizer.json of a BPE vocabulary. */
export function tokenizerOf(vocabulary: GgufVocabulary, parts: TokenizerParts): RebuiltTokenizer {
  const bos = (vocabulary.addBos ?? parts.addBos) ? vocabulary.bosId : null;
  const json = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: addedTokensOf(vocabulary),
    normalizer: parts.normalizer,
    pre_tokenizer: parts.preTokenizer,
    post_processor: bos === null ? parts.postProcessor : bosTemplate(vocabulary, bos),
    decoder: parts.decoder,
    model: { type: "BPE", dropout: null, ...parts.model },
  };
  return { json, addBos: bos !== null };
}

/** `added_tokens` of tokenizer.json: control, unknown and user-defined tokens, and BOS and EOS whatever their type. */
function addedTokensOf(vocabulary: GgufVocabulary): Record<string, unknown>[] {
  const { tokens, types, bosId, eosId } = vocabulary;
  return tokens.flatMap((content, id) => {
    const special =
      types[id] === TokenType.control || types[id] === TokenType.unknown || id === bosId || id === eosId;
    if (!special && types[id] !== TokenType.userDefined) return [];
    return [{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special }];
  });
}

/** Post-processor that puts BOS in front. */
function bosTemplate(vocabulary: GgufVocabulary, bosId: number): Record<string, unknown> {
  const bos = vocabulary.tokens[bosId] as string;
  const special = (type_id: number) => ({ SpecialToken: { id: bos, type_id } });
  const sequence = (id: string, type_id: number) => ({ Sequence: { id, type_id } });
  return {
    type: "TemplateProcessing",
    single: [special(0), sequence("A", 0)],
    pair: [special(0), sequence("A", 0), special(1), sequence("B", 1)],
    special_tokens: { [bos]: { id: bos, ids: [bosId], tokens: [bos] } },
  };
}
