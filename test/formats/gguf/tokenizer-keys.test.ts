import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { UnsupportedError } from "../../../src/errors.ts";
import { openGguf } from "../../../src/formats/gguf/open.ts";
import { rebuildTokenizer } from "../../../src/formats/gguf/tokenizer.ts";
import { tokenizerKeys } from "../../../src/formats/gguf/tokenizer-keys.ts";
import { text } from "../../../src/formats/gguf/values.ts";
import { writeGguf } from "../../../src/formats/gguf/write.ts";
import type { ModelSource, TokenizerSource } from "../../../src/formats/model.ts";
import { createTokenizer } from "../../../src/text/tokenizer.ts";
import { fixture, TINY_TOKENIZERS, tinySource } from "../../text/fixtures.ts";
import { temporaryFolder } from "../fixtures.ts";

/** A model of which only the tokenizer counts. */
function sourceOf(
  tokenizer: TokenizerSource,
  vocabSize: number,
  eosIds: readonly number[] = [2],
): ModelSource {
  return { name: "tiny", config: { vocabSize }, tokenizer, eosIds } as unknown as ModelSource;
}

async function throughGguf(source: ModelSource): Promise<TokenizerSource> {
  const path = join(await temporaryFolder(), "tokenizer.gguf");
  await writeGguf(path, new Map([["general.architecture", text("llama")], ...tokenizerKeys(source)]), []);
  const gguf = await openGguf(path);
  try {
    return rebuildTokenizer(gguf);
  } finally {
    await gguf.close();
  }
}

const strings = fixture<string[]>("strings.json");
// Metaspace puts a space only in front of what has none, and only at the start: SentencePiece itself, and llama.cpp, always.
const COMPARABLE = TINY_TOKENIZERS.filter((name) => name !== "llama2");

describe.each(COMPARABLE)("%s", (name) => {
  test("written as GGUF keys and rebuilt, it gives the same ids for 200 strings, special or literal", async () => {
    const original = tinySource(name);
    const [before, { vocabSize }] = [createTokenizer(original), createTokenizer(original)];
    const rebuilt = await throughGguf(sourceOf(original, vocabSize + 3));
    const after = createTokenizer(rebuilt);
    for (const string of strings)
      for (const special of [true, false])
        expect([string, after.encode(string, { special })]).toEqual([
          string,
          before.encode(string, { special }),
        ]);
    expect(rebuilt.chatTemplate).toBe(original.chatTemplate);
    expect(rebuilt.bosToken).toBe(original.bosToken);
    expect(rebuilt.eosToken).toBe(original.eosToken);
    expect(rebuilt.addBos).toBe(original.addBos);
  });
});

test("Metaspace, which puts no second space in front: the same ids for texts that begin with none", async () => {
  const original = tinySource("llama2");
  const before = createTokenizer(original);
  const after = createTokenizer(await throughGguf(sourceOf(original, before.vocabSize)));
  for (const string of strings.filter((s) => !/^[ ▁]/.test(s)))
    expect([string, after.encode(string)]).toEqual([string, before.encode(string)]);
});

test("every end of a turn has a key, and ids without a token are unused", () => {
  const original = tinySource("smollm2");
  const { vocabSize } = createTokenizer(original);
  const keys = tokenizerKeys(sourceOf(original, vocabSize + 2, [0, 2, 5]));
  const value = (key: string): unknown => keys.get(`tokenizer.ggml.${key}`)?.value;
  expect([value("eos_token_id"), value("eot_token_id"), value("eom_token_id")]).toEqual([2, 0, 5]);
  expect(value("pre")).toBe("smollm");
  expect((value("tokens") as string[]).slice(-2)).toEqual([`[PAD${vocabSize}]`, `[PAD${vocabSize + 1}]`]);
  expect((value("token_type") as number[]).slice(-2)).toEqual([5, 5]);
});

describe("refused", () => {
  test("what llama.cpp does not have", () => {
    const original = tinySource("smollm2");
    const json = original.tokenizerJson;
    const withJson = (changes: object): ModelSource =>
      sourceOf({ ...original, tokenizerJson: { ...json, ...changes } }, 5000);
    const split = { type: "ByteLevel", add_prefix_space: true, use_regex: true };
    expect(() => tokenizerKeys(withJson({ pre_tokenizer: split }))).toThrow(
      /has no name for this tokenizer's way/,
    );
    expect(() => tokenizerKeys(withJson({ model: { type: "Unigram", vocab: [] } }))).toThrow(
      UnsupportedError,
    );
    expect(() => tokenizerKeys(sourceOf(original, 10))).toThrow(/has id \d+, the embedding has 10 rows/);
  });
});
