import { Tokenizer as Library } from "@huggingface/tokenizers";
import { FormatError, UnsupportedError } from "../errors.ts";
import type { TokenizerSource } from "../formats/model.ts";
import { withinMs } from "../io/time-limit.ts";
import { bertNormalizer, bertWords } from "./bert-text.ts";
import { type BpeConfig, createBpe } from "./bpe.ts";
import { correctPreTokenizer, foreignPatterns, putsSpaceFirst } from "./pre-tokenizer.ts";

/** The steps from text without added tokens to ids. */
export interface Pipeline {
  normalize(text: string): string;
  /** Pieces of normalized text. `isFirst`: it starts the sequence. */
  split(text: string, isFirst: boolean): readonly string[];
  /** Ids of one piece. */
  encodePiece(piece: string): readonly number[];
  readonly idOf: ReadonlyMap<string, number>;
  /** Token of each id; ids without token are holes. */
  readonly vocab: readonly string[];
  /** The normalizer does something. */
  readonly normalizes: boolean;
}

/** Pipeline of a tokenizer.json: normalizer, pre-tokenizer and any model but BPE by `@huggingface/tokenizers`.
 *  @throws FormatError if it is malformed, UnsupportedError if it names an unknown part. */
export function openPipeline(given: TokenizerSource): Pipeline {
  const source = withPrefixSpace(given);
  const json = source.tokenizerJson;
  const model = json.model as (BpeConfig & Record<string, unknown>) | null | undefined;
  if (typeof model !== "object" || model === null || typeof model.vocab !== "object") {
    throw new FormatError("tokenizer.json", 'expected a "model" with a "vocab"');
  }
  const isBpe = model.type === "BPE" && !model.continuing_subword_prefix && !model.end_of_word_suffix;
  if (isBpe && !Array.isArray(model.merges))
    throw new FormatError("tokenizer.json", "a BPE model needs merges");
  const library = openLibrary(source, isBpe ? { type: "BPE", vocab: {}, merges: [] } : model);
  const { normalizer, pre_tokenizer: preTokenizer } = library;
  const isSpaced = putsSpaceFirst(json.pre_tokenizer);
  const begun = (text: string): string =>
    isSpaced && text !== "" && !text.startsWith(" ") ? ` ${text}` : text;
  const bert =
    typeOf(json.normalizer) === "BertNormalizer" ? bertNormalizer(json.normalizer as object) : null;
  const vocabulary = isBpe ? vocabularyOf(model.vocab) : libraryVocabulary(library);
  const guarded = guardOf(json);
  return {
    ...vocabulary,
    normalize: bert ?? ((text) => guarded(text, () => normalizer?.normalize(text) ?? text)),
    split:
      typeOf(json.pre_tokenizer) === "BertPreTokenizer"
        ? bertWords
        : (text, isFirst) =>
            guarded(
              text,
              () => preTokenizer?.pre_tokenize(begun(text), { section_index: isFirst ? 0 : 1 }) ?? [text],
            ),
    encodePiece: cached(isBpe ? createBpe(model) : (piece) => libraryIds(library, piece)),
    normalizes: normalizer !== null,
  };
}

type Guard = <T>(text: string, work: () => T) => T;

const LIMIT_MS = 5000;

/** Limits the time of work on a text where a tokenizer has patterns of its own: they may backtrack without end.
 *  @throws FormatError that quotes the text's beginning */
function guardOf(json: TokenizerSource["tokenizerJson"]): Guard {
  const foreign = foreignPatterns([json.normalizer, json.pre_tokenizer]);
  if (foreign.length === 0) return (_, work) => work();
  return (text, work) => {
    const done = withinMs(LIMIT_MS, work);
    if (done !== null) return done.value;
    const [length, start] = [text.length.toLocaleString("en"), JSON.stringify(text.slice(0, 40))];
    throw new FormatError(
      "tokenizer.json",
      `its patterns take more than ${LIMIT_MS / 1000} s on a text of ${length} characters that begins with ${start}: ${foreign.map((p) => JSON.stringify(p.slice(0, 80))).join(", ")}`,
    );
  };
}

/** Tokenizers of these classes take `add_prefix_space` from tokenizer_config.json, whatever tokenizer.json says. */
const PREFIX_CLASSES =
  /^(GPT2|Roberta|Bart|Longformer|LED|Blenderbot|Deberta|CodeGen|MVP|Whisper|XLMRobertaXL)Tokenizer(Fast)?$/;

function withPrefixSpace(source: TokenizerSource): TokenizerSource {
  const { add_prefix_space: wanted, tokenizer_class: name } = source.tokenizerConfig;
  const { pre_tokenizer: part } = source.tokenizerJson;
  if (typeof wanted !== "boolean" || !PREFIX_CLASSES.test(String(name)) || typeOf(part) !== "ByteLevel")
    return source;
  const changed = { ...(part as object), add_prefix_space: wanted };
  return { ...source, tokenizerJson: { ...source.tokenizerJson, pre_tokenizer: changed } };
}

function typeOf(part: unknown): unknown {
  return typeof part === "object" && part !== null ? (part as { readonly type?: unknown }).type : undefined;
}

function openLibrary(source: TokenizerSource, model: object): Library {
  const json = source.tokenizerJson;
  const complete = {
    model,
    added_tokens: [],
    normalizer: json.normalizer ?? null,
    pre_tokenizer: correctPreTokenizer(json.pre_tokenizer ?? null),
    post_processor: null,
    decoder: null,
  };
  try {
    return new Library(complete, source.tokenizerConfig);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (reason.startsWith("Unknown ")) throw new UnsupportedError(`tokenizer.json: ${reason}`);
    throw new FormatError("tokenizer.json", reason, { cause: error });
  }
}

type Vocabulary = Pick<Pipeline, "idOf" | "vocab">;

function vocabularyOf(entries: Readonly<Record<string, number>>): Vocabulary {
  const idOf = new Map(Object.entries(entries));
  const vocab: string[] = [];
  for (const [token, id] of idOf) vocab[id] = token;
  return { idOf, vocab };
}

function libraryVocabulary({ model }: Library): Vocabulary {
  return { idOf: model?.tokens_to_ids ?? new Map(), vocab: model?.vocab ?? [] };
}

function libraryIds({ model }: Library, piece: string): number[] {
  const tokens: string[] = model?._call([piece]) ?? [];
  return tokens
    .map((t) => model?.tokens_to_ids.get(t) ?? model?.unk_token_id)
    .filter((id) => id !== undefined);
}

const MAX_CACHED_PIECES = 100_000;
const MAX_CACHED_PIECE_LENGTH = 64;

/** Most pieces of a data set are a few thousand common words. */
function cached(encode: (piece: string) => readonly number[]): (piece: string) => readonly number[] {
  const cache = new Map<string, readonly number[]>();
  return (piece) => {
    const known = cache.get(piece);
    if (known !== undefined) return known;
    const ids = encode(piece);
    if (cache.size >= MAX_CACHED_PIECES) cache.clear();
    if (piece.length <= MAX_CACHED_PIECE_LENGTH) cache.set(piece, ids);
    return ids;
  };
}
