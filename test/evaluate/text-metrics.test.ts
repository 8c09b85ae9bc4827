import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ShapeError } from "../../src/errors.ts";
import { bleu, exactMatch, rouge } from "../../src/evaluate/text-metrics.ts";

interface Corpus {
  readonly predictions: readonly string[];
  readonly references: readonly (readonly string[])[];
  readonly bleu: number;
  readonly rouge: { readonly rouge1: number; readonly rouge2: number; readonly rougeL: number };
}

const path = new URL("../fixtures/generate/metrics.json", import.meta.url);
const { corpora } = JSON.parse(readFileSync(path, "utf8")) as { corpora: Record<string, Corpus> };

describe.each(Object.entries(corpora))("corpus %s", (_, corpus) => {
  // Both sides compute in float64; only the order of sums and logarithms differs.
  it("has sacrebleu's BLEU", () => {
    expect(bleu(corpus.predictions, corpus.references)).toBeCloseTo(corpus.bleu, 9);
  });

  it("has rouge-score's ROUGE-1, -2 and -L", () => {
    const scores = rouge(corpus.predictions, corpus.references);
    for (const key of ["rouge1", "rouge2", "rougeL"] as const)
      expect(scores[key]).toBeCloseTo(corpus.rouge[key], 12);
  });
});

describe("exact match", () => {
  it("is the share of equal texts, white space at the ends aside", () => {
    expect(exactMatch(["ls", " pwd\n", "a  b", "X"], ["ls", "pwd", "a b", "x"])).toBe(0.5);
    expect(exactMatch(["b"], [["a", "b "]])).toBe(1);
  });
});

describe("every metric", () => {
  it("takes one reference per prediction as a plain text", () => {
    const texts = ["the cat sat on the mat"];
    expect(bleu(texts, texts)).toBeCloseTo(100, 9);
    expect(rouge(texts, texts)).toEqual({ rouge1: 1, rouge2: 1, rougeL: 1 });
  });

  it.each([exactMatch, bleu, rouge])("refuses lists that do not pair up: %o", (metric) => {
    const message =
      "expected as many references as predictions, at least one; got 2 predictions, 1 references";
    expect(() => metric(["a", "b"], ["a"])).toThrow(new ShapeError(message));
    expect(() => metric([], [])).toThrow(ShapeError);
    expect(() => metric(["a"], [[]])).toThrow("prediction 1 has an empty list of references");
  });
});
