import { UnsupportedError } from "../../errors.ts";
import { isObject } from "../../io/json.ts";
import { addedTokens } from "../hf/stop-ids.ts";
import type { ModelSource, TokenizerSource } from "../model.ts";
import { preTokenizerName } from "./tokenizer-bpe.ts";
import { flag, type GgufTyped, list, text, u32 } from "./values.ts";
import { TokenType } from "./vocabulary.ts";

const NORMAL = 1;

/** A tokenizer.json's BPE model, as far as GGUF needs it. */
interface BpeModel {
  readonly vocab: Readonly<Record<string, number>>;
  /** "left right" or [left, right]. */
  readonly merges: readonly (string | readonly [string, string])[];
  readonly byte_fallback?: boolean;
  readonly unk_token?: string | null;
}

interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: readonly number[];
}

function bpeOf({ tokenizerJson }: TokenizerSource): BpeModel {
  const model = tokenizerJson.model;
  if (isObject(model) && isObject(model.vocab) && Array.isArray(model.merges))
    return model as unknown as BpeModel;
  const type = isObject(model) ? String(model.type) : "none";
  throw new UnsupportedError(
    `a tokenizer of type ${type} cannot be written as GGUF; byte-level BPE and SentencePiece BPE can`,
  );
}

/** SentencePiece marks word starts with ▁, byte-level BPE never does: it writes spaces as Ġ. */
function isSentencePiece({ tokenizerJson }: TokenizerSource, model: BpeModel): boolean {
  const { normalizer, pre_tokenizer: pre } = tokenizerJson;
  return model.byte_fallback === true && JSON.stringify([normalizer, pre]).includes("▁");
}

/** One token per row of the embedding: the vocabulary, added tokens over it, the rest unused. */
function vocabularyOf(
  source: ModelSource,
  model: BpeModel,
  isByteToken: (token: string) => boolean,
): Vocabulary {
  const { tokenizer } = source;
  const size = source.config.vocabSize;
  const tokens = Array.from({ length: size }, (_, id) => `[PAD${id}]`);
  const types = new Array<number>(size).fill(TokenType.unused);
  const put = (token: string, id: number, type: number): void => {
    if (id >= size)
      throw new UnsupportedError(
        `token ${JSON.stringify(token)} has id ${id}, the embedding has ${size} rows`,
      );
    tokens[id] = token;
    types[id] = type;
  };
  for (const [token, id] of Object.entries(model.vocab))
    put(token, id, isByteToken(token) ? TokenType.byte : NORMAL);
  const special = new Set([tokenizer.bosToken, tokenizer.eosToken, tokenizer.padToken, tokenizer.unkToken]);
  for (const { id, content, special: isSpecial } of addedTokens(tokenizer.tokenizerJson))
    put(content, id, isSpecial || special.has(content) ? TokenType.control : TokenType.userDefined);
  return { tokens, types };
}

function mergeTexts(model: BpeModel): string[] {
  return model.merges.map((merge) => (typeof merge === "string" ? merge : merge.join(" ")));
}

/** SentencePiece's order of merging as scores: the earlier a token is merged, the higher. */
function scoresOf(model: BpeModel, tokens: readonly string[]): number[] {
  const rank = new Map<string, number>();
  for (const [i, merge] of mergeTexts(model).entries()) {
    const token = merge.replace(" ", "");
    if (!rank.has(token)) rank.set(token, i);
  }
  return tokens.map((token, id) => -(rank.get(token) ?? rank.size + id));
}

function byteLevelKeys(source: ModelSource, model: BpeModel): Record<string, GgufTyped> {
  const pre = preTokenizerName(source.tokenizer.tokenizerJson);
  if (pre === null)
    throw new UnsupportedError(
      `${source.name}: llama.cpp has no name for this tokenizer's way of splitting text, so that it cannot be written as GGUF`,
    );
  const { tokens, types } = vocabularyOf(source, model, () => false);
  return {
    model: text("gpt2"),
    pre: text(pre),
    tokens: list("string", tokens),
    token_type: list("int32", types),
    merges: list("string", mergeTexts(model)),
  };
}

/** A space is put in front of text: by a normalizer that prepends, or by Metaspace. */
function addsSpacePrefix({ tokenizerJson }: TokenizerSource): boolean {
  const { normalizer, pre_tokenizer: pre } = tokenizerJson;
  const steps = JSON.stringify([normalizer, pre]);
  return /"type":"Prepend"/.test(steps) || /"prepend_scheme":"(first|always)"/.test(steps);
}

function sentencePieceKeys(source: ModelSource, model: BpeModel): Record<string, GgufTyped> {
  const { tokens, types } = vocabularyOf(source, model, (token) => /^<0x[0-9A-F]{2}>$/.test(token));
  const unknown = model.unk_token ?? source.tokenizer.unkToken;
  return {
    model: text("llama"),
    tokens: list("string", tokens),
    scores: list("float32", scoresOf(model, tokens)),
    token_type: list(
      "int32",
      types.map((type, id) => (tokens[id] === unknown ? TokenType.unknown : type)),
    ),
    add_space_prefix: flag(addsSpacePrefix(source.tokenizer)),
  };
}

/** Ids of the special tokens by GGUF's names; what else ends a turn stands as eot and eom. */
function specialIds(
  { tokenizer, eosIds }: ModelSource,
  tokens: readonly string[],
): Record<string, GgufTyped> {
  const idOf = (token: string | null): number | null => {
    const id = token === null ? -1 : tokens.lastIndexOf(token);
    return id < 0 ? null : id;
  };
  const eos = idOf(tokenizer.eosToken) ?? eosIds[0] ?? null;
  const [eot = null, eom = null] = eosIds.filter((id) => id !== eos);
  const ids = {
    bos: idOf(tokenizer.bosToken),
    eos,
    eot,
    eom,
    unknown: idOf(tokenizer.unkToken),
    padding: idOf(tokenizer.padToken),
  };
  return Object.fromEntries(
    Object.entries(ids).flatMap(([kind, id]) => (id === null ? [] : [[`${kind}_token_id`, u32(id)]])),
  );
}

/** The keys of a GGUF file that hold a model's tokenizer and chat template.
 *  @throws UnsupportedError for tokenizers that llama.cpp does not have. */
export function tokenizerKeys(source: ModelSource): ReadonlyMap<string, GgufTyped> {
  const model = bpeOf(source.tokenizer);
  const keys = isSentencePiece(source.tokenizer, model)
    ? sentencePieceKeys(source, model)
    : byteLevelKeys(source, model);
  const tokens = keys.tokens?.value as readonly string[];
  const all = {
    ...keys,
    ...specialIds(source, tokens),
    add_bos_token: flag(source.tokenizer.addBos),
    add_eos_token: flag(false),
  };
  const { chatTemplate } = source.tokenizer;
  return new Map([
    ...Object.entries(all).map(([key, value]): [string, GgufTyped] => [`tokenizer.ggml.${key}`, value]),
    ...(chatTemplate === null
      ? []
      : [["tokenizer.chat_template", text(chatTemplate)] as [string, GgufTyped]]),
  ]);
}
