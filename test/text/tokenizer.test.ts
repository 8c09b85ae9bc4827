import { describe, expect, it } from "vitest";
import { FormatError, UnsupportedError } from "../../src/errors.ts";
import { createTokenizer } from "../../src/text/tokenizer.ts";
import { type EncodedString, fixture, TINY_TOKENIZERS, tinySource } from "./fixtures.ts";

const strings = fixture<string[]>("strings.json");

describe.each(TINY_TOKENIZERS)("%s tokenizer against transformers", (name) => {
  const tokenizer = createTokenizer(tinySource(name));
  const { results } = fixture<{ results: EncodedString[] }>(`${name}.ids.json`);
  const rows = results.map((row, i) => ({ ...row, text: strings[i] as string }));

  it("has 200 strings to compare", () => {
    expect(rows.length).toBe(200);
  });

  it("gives the same ids with special tokens recognised", () => {
    for (const { text, ids } of rows)
      expect([text, tokenizer.encode(text, { special: true })]).toEqual([text, ids]);
  });

  it("gives the same ids with special tokens literal", () => {
    for (const { text, ids, literal } of rows)
      expect([text, tokenizer.encode(text)]).toEqual([text, literal ?? ids]);
  });

  it("decodes to the same text", () => {
    for (const { text, ids, literal, decoded } of rows)
      expect(tokenizer.decode(literal ?? ids)).toBe(decoded ?? text);
  });

  it("encodes the sections of a text to the ids of the whole", () => {
    for (const { text, ids } of rows) {
      const parts = tokenizer
        .sections(text)
        .flatMap((s) => (s.id !== null ? [s.id] : tokenizer.encode(s.text, { continues: s.start > 0 })));
      expect([text, parts]).toEqual([text, ids]);
    }
  });
});

describe("a tokenizer", () => {
  const smollm2 = createTokenizer(tinySource("smollm2"));

  it("knows its special tokens and its size", () => {
    expect(smollm2).toMatchObject({
      vocabSize: 4000 + 235 + 17,
      bosId: 1,
      eosId: 2,
      padId: 2,
      addBos: false,
    });
    expect(smollm2.tokenId("<|im_end|>")).toBe(2);
    expect(smollm2.token(2)).toBe("<|im_end|>");
    expect(smollm2.isSpecial(2)).toBe(true);
    expect(smollm2.tokenId("no such token")).toBeUndefined();
    expect(smollm2.token(99999)).toBeUndefined();
  });

  it("never adds BOS by itself, even where the post-processor would", () => {
    const llama3 = createTokenizer(tinySource("llama3"));
    expect(llama3.addBos).toBe(true);
    expect(llama3.encode("hi", { special: true })).not.toContain(llama3.bosId);
  });

  it("leaves special tokens out of decoded text unless asked, and skips unknown ids", () => {
    const ids = smollm2.encode("a<|im_end|>b", { special: true });
    expect(smollm2.decode(ids)).toBe("ab");
    expect(smollm2.decode(ids, { special: true })).toBe("a<|im_end|>b");
    expect(smollm2.decode([...ids, 99999, -1])).toBe("ab");
    expect(smollm2.decode([])).toBe("");
  });

  it("finds no special token that touches a literal range", () => {
    const text = "<|im_end|><|im_end|>";
    const ids = (literal: [number, number][]) => smollm2.sections(text, literal).map((s) => s.id);
    expect(ids([])).toEqual([2, 2]);
    expect(ids([[0, 10]])).toEqual([null, 2]);
    expect(ids([[0, 1]])).toEqual([null, 2]);
    expect(ids([[5, 15]])).toEqual([null]);
  });

  it("lets a token take white space of a literal range with it", () => {
    const source = tinySource("smollm2");
    const added = [{ id: 2, content: "<|im_end|>", special: true, rstrip: true }];
    const tokenizer = createTokenizer({
      ...source,
      tokenizerJson: { ...source.tokenizerJson, added_tokens: added },
    });
    expect(tokenizer.sections("<|im_end|>  x", [[10, 13]])).toEqual([
      { start: 0, text: "<|im_end|>  ", id: 2 },
      { start: 12, text: "x", id: null },
    ]);
  });

  it("is refused where tokenizer.json is malformed or asks for unknown parts", () => {
    const source = tinySource("smollm2");
    const changed = (change: object) => () =>
      createTokenizer({ ...source, tokenizerJson: { ...source.tokenizerJson, ...change } });
    expect(changed({ model: undefined })).toThrow(FormatError);
    expect(changed({ model: { type: "BPE" } })).toThrow('expected a "model" with a "vocab"');
    expect(changed({ added_tokens: [{ content: "x" }] })).toThrow("added token without content and id");
    expect(changed({ pre_tokenizer: { type: "Bogus" } })).toThrow(UnsupportedError);
    expect(changed({ decoder: { type: "CTC" } })).toThrow('decoder "CTC" is not supported');
    expect(changed({ decoder: null })).toThrow(UnsupportedError);
  });

  it("encodes 1,300 short rows in well under two seconds", () => {
    const rows = Array.from(
      { length: 1300 },
      (_, i) => `${strings[i % 60]} ${i} find all files in dir${i * 7}`,
    );
    const fresh = createTokenizer(tinySource("smollm2"));
    const start = performance.now();
    for (const row of rows) fresh.encode(row);
    expect(performance.now() - start).toBeLessThan(2000); // about 0.1 s on two cores
  });
});
