import { describe, expect, test } from "vitest";
import type { Example } from "../../src/data/batch.ts";
import { packSequences } from "../../src/data/sequence-batch.ts";
import { random } from "../../src/tensor/random.ts";

function example(index: number, length: number, target = index): Example {
  const ids = Int32Array.from({ length }, (_, i) => 100 * (index + 1) + i);
  return { ids, isLabel: new Uint8Array(length), types: new Uint8Array(length).fill(1, 1), target, index };
}

describe("packSequences", () => {
  test("by hand: rows filled with the longest first, one edge per sequence", () => {
    const examples = [example(0, 2), example(1, 5, -1.5), example(2, 3)];
    const batch = packSequences(examples, { rows: 2, bucket: 2, edgeBucket: 4 });
    expect([batch.rows, batch.length, batch.trieTokens, batch.paddedTokens, batch.labelCount]).toEqual([
      2, 6, 10, 15, 3,
    ]);
    expect([...batch.tokens]).toEqual([200, 201, 202, 203, 204, 0, 300, 301, 302, 100, 101, 0]);
    expect([...batch.positions]).toEqual([0, 1, 2, 3, 4, 0, 0, 1, 2, 0, 1, 0]);
    expect([...batch.ends]).toEqual([5, 5, 5, 5, 5, 6, 3, 3, 3, 5, 5, 6]);
    expect([...(batch.types ?? [])]).toEqual([0, 1, 1, 1, 1, 0, 0, 1, 1, 0, 1, 0]);
    expect([...batch.edgeNodes]).toEqual([0, 6, 9, 0]);
    expect([...batch.edgeLabels]).toEqual([-1, 2, 0, 0]);
    expect([...(batch.edgeTargets ?? [])]).toEqual([-1.5, 2, 0, 0]);
    expect([...batch.edgeWeights]).toEqual([1, 1, 1, 0]);
    expect(batch.examples).toEqual([0, 1, 2]);
  });

  test.each([1, 2, 3, 4, 5])("random batch %i: every example is there once, alone under its end", (seed) => {
    const generator = random(seed, "sequences");
    const examples = Array.from({ length: 17 }, (_, i) => example(i, 1 + (generator.uint32() % 30)));
    const batch = packSequences(examples, { bucket: 8, edgeBucket: 8 });
    const { length, tokens, ends } = batch;
    batch.edgeWeights.forEach((weight, e) => {
      if (weight === 0) return;
      const start = batch.edgeNodes[e] as number;
      const own = examples[batch.edgeLabels[e] as number] as Example;
      expect([...tokens.slice(start, start + own.ids.length)]).toEqual([...own.ids]);
      const row = Math.floor(start / length) * length;
      const seen = [...ends.slice(row, row + length).keys()].filter((i) => ends[row + i] === ends[start]);
      expect(seen).toEqual([...own.ids.keys()].map((i) => start - row + i));
    });
    expect(batch.edgeWeights.reduce((a, b) => a + b, 0)).toBe(17);
    expect(packSequences(examples, { bucket: 8, edgeBucket: 8 })).toEqual(batch);
  });

  test("nothing, and options that are none", () => {
    expect(packSequences([], { bucket: 4 })).toMatchObject({ rows: 1, length: 4, labelCount: 0 });
    expect(() => packSequences([], { bucket: 0 })).toThrow("bucket: expected a positive integer, got 0");
  });
});
