import { describe, expect, it } from "vitest";
import { createStreamDecoder } from "../../src/text/stream-decoder.ts";
import { createTokenizer } from "../../src/text/tokenizer.ts";
import { fixture } from "./fixtures.ts";

interface Case {
  readonly name: string;
  readonly tokenizerJson: Readonly<Record<string, unknown>>;
  readonly tokenizerConfig: Readonly<Record<string, unknown>>;
  readonly rows: readonly {
    readonly text: string;
    readonly ids: readonly number[];
    readonly decoded: string;
  }[];
}

const { cases } = fixture<{ readonly cases: readonly Case[] }>("odd-tokenizers.json");
const NO_TOKENS = { bosToken: null, eosToken: null, padToken: null, unkToken: null, addBos: false };

describe.each(cases)("$name", ({ tokenizerJson, tokenizerConfig, rows }) => {
  const tokenizer = createTokenizer({ tokenizerJson, tokenizerConfig, chatTemplate: null, ...NO_TOKENS });

  it("gives the reference's ids", () => {
    for (const { text, ids } of rows) expect([text, tokenizer.encode(text)]).toEqual([text, ids]);
  });

  it("decodes as the reference, at once and one by one", () => {
    for (const { ids, decoded } of rows) {
      expect(tokenizer.decode(ids, { special: true })).toBe(decoded);
      const stream = createStreamDecoder(tokenizer, { special: true });
      const streamed = ids.map((id) => stream.push(id)).join("") + stream.flush();
      expect(streamed.trimEnd()).toBe(decoded.trimEnd()); // a suffix of the last word has been shown as a space by then
    }
  });
});
