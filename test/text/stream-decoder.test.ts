import { describe, expect, it } from "vitest";
import { createStreamDecoder } from "../../src/text/stream-decoder.ts";
import { createTokenizer } from "../../src/text/tokenizer.ts";
import { fixture, TINY_TOKENIZERS, tinySource } from "./fixtures.ts";

const strings = fixture<string[]>("strings.json");

describe.each(TINY_TOKENIZERS)("stream decoder over the %s tokenizer", (name) => {
  const tokenizer = createTokenizer(tinySource(name));

  it("joins to what decode gives, and never prints part of a character", () => {
    const decoder = createStreamDecoder(tokenizer);
    for (const text of strings) {
      const ids = tokenizer.encode(text);
      const parts = ids.map((id) => decoder.push(id));
      const rest = decoder.flush();
      expect(parts.join("") + rest).toBe(tokenizer.decode(ids));
      if (!text.includes("\ufffd")) expect(parts.join("")).not.toContain("\ufffd");
      for (const part of parts) expect(() => encodeURIComponent(part)).not.toThrow();
    }
  });

  it("holds a character back until its last byte", () => {
    const ids = tokenizer.encode("🫠");
    expect(ids.length).toBeGreaterThan(1);
    const decoder = createStreamDecoder(tokenizer);
    const parts = ids.map((id) => decoder.push(id));
    expect(parts.slice(0, -1).join("")).toBe("");
    expect(parts.at(-1)).toBe("🫠");
  });

  it("marks a character cut off at the end, and starts afresh", () => {
    const ids = tokenizer.encode("🫠");
    const decoder = createStreamDecoder(tokenizer);
    for (const id of ids.slice(0, -1)) decoder.push(id);
    expect(decoder.flush()).toBe("\ufffd");
    expect(tokenizer.encode("ok").map(decoder.push).join("")).toBe("ok");
  });

  it("leaves special tokens out unless they are asked for", () => {
    const eos = tokenizer.eosId as number;
    const ids = [...tokenizer.encode("a b"), eos];
    const stream = (special: boolean): string =>
      ids.map(createStreamDecoder(tokenizer, { special }).push).join("");
    expect(stream(false)).toBe("a b");
    expect(stream(true)).toBe(`a b${tokenizer.token(eos)}`);
    const shown = (text: string): string =>
      ids.map(createStreamDecoder(tokenizer, { shown: [text, "<no token>"] }).push).join("");
    expect(shown(tokenizer.token(eos) as string)).toBe(`a b${tokenizer.token(eos)}`);
    expect(shown("a")).toBe("a b");
  });
});
