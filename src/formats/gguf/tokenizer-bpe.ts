import { FormatError, UnsupportedError } from "../../errors.ts";
import { isObject } from "../../io/json.ts";
import { ggufArchitecture } from "../architectures/table.ts";
import { type GgufVocabulary, type RebuiltTokenizer, TokenType, tokenizerOf } from "./vocabulary.ts";

/** How a family of byte-level BPE tokenizers prepares text; `tokenizer.ggml.pre` names it. */
interface PreTokenizer {
  readonly normalizer: Record<string, unknown> | null;
  readonly steps: readonly Record<string, unknown>[];
  /** A piece that is in the vocabulary as a whole is taken without merging. */
  readonly ignoreMerges: boolean;
  /** BOS starts sequences where the file does not say. */
  readonly addBos: boolean;
}

const byteLevel = (useRegex: boolean) => ({
  type: "ByteLevel",
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: useRegex,
});

const split = (regex: string) => ({
  type: "Split",
  pattern: { Regex: regex },
  behavior: "Isolated",
  invert: false,
});

/** The GPT-4 regex with numbers in groups of up to `digits`. */
const gpt4Regex = (digits: string): string =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

const gpt2Style: PreTokenizer = {
  normalizer: null,
  steps: [byteLevel(true)],
  ignoreMerges: false,
  addBos: false,
};

const singleDigits: PreTokenizer = {
  ...gpt2Style,
  steps: [{ type: "Digits", individual_digits: true }, byteLevel(true)],
};

const llama3: PreTokenizer = {
  normalizer: null,
  steps: [split(gpt4Regex("\\p{N}{1,3}")), byteLevel(false)],
  ignoreMerges: true,
  addBos: true,
};

const qwen2: PreTokenizer = {
  normalizer: { type: "NFC" },
  steps: [split(gpt4Regex("\\p{N}")), byteLevel(false)],
  ignoreMerges: false,
  addBos: false,
};

/** `tokenizer.ggml.pre` → pre-tokenizer. One line each. */
const PRE_TOKENIZERS: Readonly<Record<string, PreTokenizer>> = {
  "gpt-2": gpt2Style,
  smollm: singleDigits,
  starcoder: singleDigits,
  "llama-bpe": llama3,
  "llama-v3": llama3,
  llama3,
  qwen2,
  "deepseek-r1-qwen": qwen2,
};

function preTokenizerOf({ pre, architecture, path }: GgufVocabulary): PreTokenizer {
  const isNamed = pre !== null && pre !== "default" && pre !== "";
  const name = isNamed ? pre : ggufArchitecture(path, architecture).gguf.preTokenizer;
  const known = Object.hasOwn(PRE_TOKENIZERS, name) ? PRE_TOKENIZERS[name] : undefined;
  if (known) return known;
  throw new UnsupportedError(
    `${path}: pre-tokenizer "${name}" is not supported; known: ${Object.keys(PRE_TOKENIZERS).join(", ")}`,
  );
}

/** A step of a pre-tokenizer, as far as it changes pieces. */
function essence(step: unknown): unknown {
  if (!isObject(step)) return step;
  if (step.type === "Sequence") return null; // no known one nests
  const { trim_offsets: _offsets, ...rest } = step;
  return step.type === "ByteLevel" ? { add_prefix_space: true, use_regex: true, ...rest } : rest;
}

/** Order of keys does not count. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, item) =>
    isObject(item) ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1))) : item,
  );
}

/** The name by which llama.cpp knows the pre-tokenizer of a byte-level tokenizer.json (`tokenizer.ggml.pre`); null for one
 *  that has none here. */
export function preTokenizerName(tokenizerJson: Readonly<Record<string, unknown>>): string | null {
  const { normalizer = null, pre_tokenizer: pre, model } = tokenizerJson;
  const steps = isObject(pre) && Array.isArray(pre.pretokenizers) ? pre.pretokenizers : [pre];
  const ignoreMerges = isObject(model) && model.ignore_merges === true;
  const wanted = canonical([normalizer, steps.map(essence), ignoreMerges]);
  const found = Object.entries(PRE_TOKENIZERS).find(
    ([, known]) => canonical([known.normalizer, known.steps.map(essence), known.ignoreMerges]) === wanted,
  );
  return found?.[0] ?? null;
}

function mergePairs({ merges, path }: GgufVocabulary): [string, string][] {
  return merges.map((merge, i) => {
    // A byte-level token holds no space: it is written Ġ.
    const space = merge.indexOf(" ");
    if (space <= 0 || space !== merge.lastIndexOf(" ") || space === merge.length - 1)
      throw new FormatError(
        path,
        `tokenizer.ggml.merges[${i}] is ${JSON.stringify(merge)}, expected two tokens`,
      );
    return [merge.slice(0, space), merge.slice(space + 1)];
  });
}

/** tokenizer.json of a byte-level BPE vocabulary (`tokenizer.ggml.model` "gpt2"). Unused ids (padding of the embedding)
 *  get no token. @throws UnsupportedError for an unknown pre-tokenizer; FormatError for broken merges. */
export function byteLevelTokenizer(vocabulary: GgufVocabulary): RebuiltTokenizer {
  const pre = preTokenizerOf(vocabulary);
  const { tokens, types } = vocabulary;
  const used = tokens
    .map((token, id) => [token, id] as const)
    .filter(([, id]) => types[id] !== TokenType.unused);
  return tokenizerOf(vocabulary, {
    addBos: pre.addBos,
    normalizer: pre.normalizer,
    preTokenizer: pre.steps.length === 1 ? pre.steps[0] : { type: "Sequence", pretokenizers: pre.steps },
    postProcessor: byteLevel(true),
    decoder: { ...byteLevel(true), add_prefix_space: true },
    model: {
      unk_token: null,
      continuing_subword_prefix: "",
      end_of_word_suffix: "",
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: pre.ignoreMerges,
      vocab: Object.fromEntries(used),
      merges: mergePairs(vocabulary),
    },
  });
}
