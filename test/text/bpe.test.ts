import { describe, expect, it } from "vitest";
import { FormatError } from "../../src/errors.ts";
import { random } from "../../src/tensor/random.ts";
import { type BpeConfig, createBpe } from "../../src/text/bpe.ts";
import { fixture } from "./fixtures.ts";

/** Byte-pair encoding by its definition: while any pair can be merged, merge the first one of lowest rank. */
function byDefinition(piece: string, merges: readonly (readonly [string, string])[]): string[] {
  const symbols = Array.from(piece);
  for (;;) {
    const ranks = symbols.slice(1).map((right, i) => {
      const rank = merges.findIndex(([a, b]) => a === symbols[i] && b === right);
      return rank < 0 ? Infinity : rank;
    });
    const best = Math.min(...ranks);
    if (best === Infinity) return symbols;
    const at = ranks.indexOf(best);
    symbols.splice(at, 2, `${symbols[at]}${symbols[at + 1]}`);
  }
}

describe("byte-pair encoding", () => {
  it("merges as the definition does, on random merges and texts", () => {
    const generator = random(4);
    for (let round = 0; round < 200; round++) {
      const tokens = ["a", "b", "c"];
      const merges: [string, string][] = [];
      while (merges.length < 12) {
        const [left, right] = [0, 1].map(() => tokens[generator.below(tokens.length)] as string) as [
          string,
          string,
        ];
        if (tokens.includes(left + right)) continue;
        merges.push([left, right]);
        tokens.push(left + right);
      }
      const vocab = Object.fromEntries(tokens.map((t, i) => [t, i]));
      const encode = createBpe({ vocab, merges });
      const piece = Array.from({ length: generator.below(30) }, () => "abc"[generator.below(3)]).join("");
      const expected = byDefinition(piece, merges).map((t) => vocab[t]);
      expect([piece, merges, encode(piece)]).toEqual([piece, merges, expected]);
    }
  });

  it("takes time in proportion to a long piece", () => {
    const { model } = fixture<{ model: BpeConfig }>("smollm2.tokenizer.json");
    const start = performance.now();
    createBpe(model)("a".repeat(200_000));
    expect(performance.now() - start).toBeLessThan(5000); // about 0.2 s; quadratic time would be hours
  });

  const vocab = { "<unk>": 0, a: 1, b: 2, ab: 3, "<0xC3>": 4, "<0xA9>": 5, abab: 6 };
  const merges = ["a b"];

  it("gives unknown characters the unknown token, fused or not, or leaves them out", () => {
    expect(createBpe({ vocab, merges, unk_token: "<unk>" })("axyb")).toEqual([1, 0, 0, 2]);
    expect(createBpe({ vocab, merges, unk_token: "<unk>", fuse_unk: true })("axyb")).toEqual([1, 0, 2]);
    expect(createBpe({ vocab, merges })("axyb")).toEqual([3]);
  });

  it("falls back to bytes only where all of them are tokens", () => {
    expect(createBpe({ vocab, merges, unk_token: "<unk>", byte_fallback: true })("éabü")).toEqual([
      4, 5, 3, 0,
    ]);
  });

  it("takes a whole piece that is a token where merges are to be ignored", () => {
    expect(createBpe({ vocab, merges })("abab")).toEqual([3, 3]);
    expect(createBpe({ vocab, merges, ignore_merges: true })("abab")).toEqual([6]);
  });

  it("refuses a merge of tokens that are not there", () => {
    expect(() => createBpe({ vocab, merges: ["a b", ["b", "b"]] })).toThrow(
      new FormatError("tokenizer.json", 'merge 2 of ["b","b"]: not in the vocabulary'),
    );
  });
});
