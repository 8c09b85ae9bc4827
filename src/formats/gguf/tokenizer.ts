import { UnsupportedError } from "../../errors.ts";
import type { TokenizerSource } from "../model.ts";
import type { GgufFile } from "./file.ts";
import { byteLevelTokenizer } from "./tokenizer-bpe.ts";
import { sentencePieceTokenizer } from "./tokenizer-spm.ts";
import {
  type GgufVocabulary,
  isText,
  type RebuiltTokenizer,
  readVocabulary,
  scalar,
  tokenIdOf,
} from "./vocabulary.ts";

/** `tokenizer.ggml.model` → how to rebuild it. One line each. */
const MODELS: Readonly<Record<string, (vocabulary: GgufVocabulary) => RebuiltTokenizer>> = {
  gpt2: byteLevelTokenizer,
  llama: sentencePieceTokenizer,
};

function tokenizerConfigOf(
  gguf: GgufFile,
  special: Readonly<Record<string, string | null>>,
  addBos: boolean,
) {
  const architecture = String(gguf.values.get("general.architecture"));
  const contextLength = gguf.values.get(`${architecture}.context_length`);
  return {
    add_bos_token: addBos,
    ...special,
    clean_up_tokenization_spaces: false,
    ...(typeof contextLength === "number" ? { model_max_length: contextLength } : {}),
    tokenizer_class: "PreTrainedTokenizerFast",
  };
}

/** Rebuilds tokenizer.json and tokenizer_config.json from the keys of a GGUF file.
 *  @throws UnsupportedError for unknown tokenizer models and pre-tokenizers; FormatError for a broken vocabulary. */
export function rebuildTokenizer(gguf: GgufFile): TokenizerSource {
  const model = scalar(gguf, "tokenizer.ggml.model", isText);
  const rebuild = model !== null && Object.hasOwn(MODELS, model) ? MODELS[model] : undefined;
  if (!rebuild)
    throw new UnsupportedError(
      `${gguf.path}: tokenizer model ${JSON.stringify(model)} is not supported; known: ${Object.keys(MODELS).join(", ")}`,
    );
  const vocabulary = readVocabulary(gguf);
  const { json, addBos } = rebuild(vocabulary);
  const textOf = (kind: string): string | null => {
    const id = tokenIdOf(gguf, kind, vocabulary.tokens.length);
    return id === null ? null : (vocabulary.tokens[id] as string);
  };
  const [bosToken, eosToken, padToken, unkToken] = ["bos", "eos", "padding", "unknown"].map(textOf) as [
    string | null,
    string | null,
    string | null,
    string | null,
  ];
  const special = { bos_token: bosToken, eos_token: eosToken, pad_token: padToken, unk_token: unkToken };
  return {
    tokenizerJson: json,
    tokenizerConfig: tokenizerConfigOf(gguf, special, addBos),
    chatTemplate: scalar(gguf, "tokenizer.chat_template", isText),
    bosToken,
    eosToken,
    padToken,
    unkToken,
    addBos,
  };
}
