import { describe, expect, it } from "vitest";
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
