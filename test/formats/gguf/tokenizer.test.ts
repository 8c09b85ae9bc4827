import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Tokenizer } from "@huggingface/tokenizers";
import { describe, expect, test } from "vitest";
import { FormatError, UnsupportedError } from "../../../src/errors.ts";
import { openGguf } from "../../../src/formats/gguf/open.ts";
import { rebuildTokenizer } from "../../../src/formats/gguf/tokenizer.ts";
import type { TokenizerSource } from "../../../src/formats/model.ts";
import { readFixture, temporaryFolder } from "../fixtures.ts";
import { ggufBytes, type Value } from "./bytes.ts";

/** Rebuilds the tokenizer of a GGUF file with these keys under `tokenizer.ggml.`. */
async function rebuilt(keys: Record<string, Value>, architecture = "llama"): Promise<TokenizerSource> {
  const path = join(await temporaryFolder(), "vocabulary.gguf");
  const prefixed = Object.entries(keys).map(([key, value]) => [`tokenizer.ggml.${key}`, value]);
  await writeFile(
    path,
    ggufBytes({ values: { "general.architecture": architecture, ...Object.fromEntries(prefixed) } }),
  );
  const gguf = await openGguf(path);
  try {
    return rebuildTokenizer(gguf);
  } finally {
    await gguf.close();
  }
}

function tokenizerOf(source: TokenizerSource): Tokenizer {
  return new Tokenizer(source.tokenizerJson, source.tokenizerConfig);
}

const idsOf = (tokenizer: Tokenizer, text: string): number[] =>
  tokenizer.encode(text, { add_special_tokens: false }).ids;

interface ByteLevel {
  readonly samples: string[];
  readonly tokenizers: Record<
    string,
    { tokens: string[]; merges: string[]; ids: number[][]; decoded: string[] }
  >;
}

const byteLevel = await readFixture<ByteLevel>("byte-level.json");

const controls = (tokens: string[]): Value[] =>
  tokens.map((token) => ({ type: 5, value: token.startsWith("<|") ? 3 : 1 }));

function keysOf(pre: string): Record<string, Value> {
  const { tokens, merges } = byteLevel.tokenizers[pre] as { tokens: string[]; merges: string[] };
  return {
    model: "gpt2",
    pre,
    tokens,
    merges,
    token_type: controls(tokens),
    bos_token_id: 1,
    eos_token_id: 2,
  };
}

describe.each(Object.keys(byteLevel.tokenizers))("byte-level BPE, %s", (pre) => {
  test("gives the ids and the text of the reference", async () => {
    const tokenizer = tokenizerOf(await rebuilt(keysOf(pre)));
    const { ids, decoded } = byteLevel.tokenizers[pre] as { ids: number[][]; decoded: string[] };
    expect(byteLevel.samples.map((text) => idsOf(tokenizer, text))).toEqual(ids);
    const texts = ids.map((i) => (i.length > 0 ? tokenizer.decode(i, { skip_special_tokens: false }) : ""));
    expect(texts).toEqual(decoded);
  });
});

test("special tokens, BOS and the chat template", async () => {
  const source = await rebuilt({ ...keysOf("gpt-2"), padding_token_id: 2, unknown_token_id: 0 });
  expect(source).toMatchObject({
    bosToken: "<|im_start|>",
    eosToken: "<|im_end|>",
    padToken: "<|im_end|>",
    unkToken: "<|endoftext|>",
    addBos: false,
    chatTemplate: null,
  });
  expect(source.tokenizerJson.added_tokens).toMatchObject([
    { id: 0, content: "<|endoftext|>", special: true },
    { id: 1, content: "<|im_start|>", special: true },
    { id: 2, content: "<|im_end|>", special: true },
  ]);
  const withBos = await rebuilt({ ...keysOf("gpt-2"), add_bos_token: true });
  expect(withBos.addBos).toBe(true);
  expect(tokenizerOf(withBos).encode("a").ids[0]).toBe(1);
  expect((await rebuilt(keysOf("llama-bpe"))).addBos).toBe(true);
});

test("user-defined tokens are matched but not special; unused ids have no token", async () => {
  const keys = keysOf("gpt-2");
  const tokens = [...(keys.tokens as string[]), "<tool>", "[PAD301]"];
  const types = [...controls(tokens.slice(0, -2)), { type: 5, value: 4 }, { type: 5, value: 5 }];
  const source = await rebuilt({ ...keys, tokens, token_type: types });
  expect(source.tokenizerJson.added_tokens).toContainEqual(
    expect.objectContaining({ id: tokens.length - 2, content: "<tool>", special: false }),
  );
  expect(idsOf(tokenizerOf(source), "<tool>")).toEqual([tokens.length - 2]);
  expect(source.tokenizerJson.model).not.toHaveProperty(["vocab", "[PAD301]"]);
});

test("a file that names no pre-tokenizer gets that of its architecture", async () => {
  const { pre: _, ...keys } = keysOf("qwen2");
  const plain = await rebuilt(keys, "qwen2");
  expect(plain.tokenizerJson.pre_tokenizer).toEqual(
    (await rebuilt(keysOf("qwen2"))).tokenizerJson.pre_tokenizer,
  );
  expect((await rebuilt({ ...keys, pre: "default" }, "gpt2")).tokenizerJson.pre_tokenizer).toMatchObject({
    type: "ByteLevel",
    use_regex: true,
  });
});

test("unknown models and pre-tokenizers list the known ones; broken vocabularies are refused", async () => {
  const keys = keysOf("gpt-2");
  await expect(rebuilt({ ...keys, pre: "tekken" })).rejects.toThrow(UnsupportedError);
  await expect(rebuilt({ ...keys, pre: "tekken" })).rejects.toThrow(
    /pre-tokenizer "tekken" is not supported; known: gpt-2, smollm/,
  );
  await expect(rebuilt({ ...keys, model: "bert" })).rejects.toThrow(
    /tokenizer model "bert" is not supported; known: gpt2, llama/,
  );
  await expect(rebuilt({ model: "gpt2" })).rejects.toThrow(FormatError);
  await expect(rebuilt({ ...keys, token_type: [1] })).rejects.toThrow(
    /token_type has 1 items for 300 tokens/,
  );
  await expect(rebuilt({ ...keys, merges: ["a b c"] })).rejects.toThrow(
    /merges\[0\] is "a b c", expected two tokens/,
  );
  await expect(rebuilt({ ...keys, eos_token_id: 300 })).rejects.toThrow(
    /eos_token_id is 300, the vocabulary has 300/,
  );
  await expect(rebuilt({ ...keys, tokens: [1, 2] })).rejects.toThrow(
    /tokens is not a list of the expected kind/,
  );
});

interface SentencePiece {
  readonly tokens: string[];
  readonly scores: number[];
  readonly types: number[];
  readonly samples: string[];
  readonly ids: number[][];
  readonly decoded: string[];
}

const sentencePiece = await readFixture<SentencePiece>("sentencepiece.json");

function sentencePieceKeys(): Record<string, Value> {
  const { tokens, scores, types } = sentencePiece;
  return {
    model: "llama",
    tokens,
    scores: scores.map((value) => ({ type: 6, value })),
    token_type: types.map((value) => ({ type: 5, value })),
    bos_token_id: 1,
    eos_token_id: 2,
    unknown_token_id: 0,
  };
}

test("SentencePiece BPE gives the ids and the text of the reference", async () => {
  const source = await rebuilt(sentencePieceKeys());
  const tokenizer = tokenizerOf(source);
  expect(sentencePiece.samples.map((text) => idsOf(tokenizer, text))).toEqual(sentencePiece.ids);
  const texts = sentencePiece.ids.map((ids) => tokenizer.decode(ids, { skip_special_tokens: false }));
  expect(texts).toEqual(sentencePiece.decoded);
  expect(source.addBos).toBe(true);
  expect(tokenizer.encode("a").ids[0]).toBe(1);
});

test("SentencePiece without a space in front, and without scores", async () => {
  const source = await rebuilt({ ...sentencePieceKeys(), add_space_prefix: false, add_bos_token: false });
  const tokenizer = tokenizerOf(source);
  const ids = idsOf(tokenizer, "return x");
  expect(tokenizer.decode(ids)).toBe("return x");
  expect(sentencePiece.tokens[ids[0] as number]).not.toMatch(/^▁/);
  expect(source.addBos).toBe(false);
  const { scores: _, ...keys } = sentencePieceKeys();
  await expect(rebuilt(keys)).rejects.toThrow(/SentencePiece vocabulary without tokenizer.ggml.scores/);
});
