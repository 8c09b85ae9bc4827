import { describe, expect, it } from "vitest";
import { batchOrder, epochBatches, packingReport } from "../../src/data/batches.ts";
import { random } from "../../src/tensor/random.ts";
import { example, randomExamples } from "./random-examples.ts";

const options = { count: 10, batchSize: 4, seed: 7, epoch: 0 };
const flat = (batches: Int32Array[]): number[] => batches.flatMap((batch) => [...batch]);

describe("batchOrder", () => {
  it("takes every example once, the last batch being what is left", () => {
    const batches = batchOrder(options);
    expect(batches.map((batch) => batch.length)).toEqual([4, 4, 2]);
    expect(flat(batches).sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it("is the same for the same seed and epoch, so that a resumed run goes on where it was", () => {
    expect(batchOrder({ ...options, epoch: 3 })).toEqual(batchOrder({ ...options, epoch: 3 }));
  });

  it("differs between epochs and between seeds", () => {
    const first = flat(batchOrder(options));
    expect(flat(batchOrder({ ...options, epoch: 1 }))).not.toEqual(first);
    expect(flat(batchOrder({ ...options, seed: 8 }))).not.toEqual(first);
  });

  it("has not changed since it was written down: saved runs depend on it", () => {
    expect(flat(batchOrder(options))).toMatchInlineSnapshot(`
      [
        0,
        1,
        9,
        3,
        6,
        2,
        5,
        8,
        7,
        4,
      ]
    `);
  });

  it("gives no batches for no examples, and refuses a batch of none", () => {
    expect(batchOrder({ ...options, count: 0 })).toEqual([]);
    expect(() => batchOrder({ ...options, batchSize: 0 })).toThrow(
      "Invalid option\n  batchSize: expected a positive integer, got 0",
    );
  });
});

describe("batches grouped by how their examples begin", () => {
  // 50 batches of 4, then 11 examples: two batches and three left over.
  const examples = randomExamples(211, random(1, "grouped"));
  const order = { count: examples.length, batchSize: 4, seed: 3, epoch: 0 };
  const all = (options = order): Int32Array[] => {
    const batchAt = epochBatches(options, examples);
    return Array.from({ length: 53 }, (_, place) => batchAt(place));
  };

  it("take every example once, within 50 batches of where it would have been, the smaller batch last", () => {
    const [plain, grouped] = [batchOrder(order), all()];
    expect(grouped.map((batch) => batch.length)).toEqual([...new Array(52).fill(4), 3]);
    for (const [from, to] of [
      [0, 50],
      [50, 53],
    ]) {
      const sorted = (batches: Int32Array[]): number[] => flat(batches.slice(from, to)).sort((a, b) => a - b);
      expect(sorted(grouped)).toEqual(sorted(plain));
    }
    expect(epochBatches(order, examples)(53)).toEqual(new Int32Array(0));
  });

  it("share more", () => {
    const report = (isGrouped: boolean): number =>
      packingReport(examples, { batchSize: 4, seed: 3, isGrouped }).trieTokens;
    expect(report(true)).toBeLessThan(0.8 * report(false));
  });

  it("hold neighbours in sorted order, four together, and do not come in that order", () => {
    const words = Array.from({ length: 24 }, (_, i) => example(i, [(7 * i) % 24, 7, 7], 1));
    const batchAt = epochBatches({ count: 24, batchSize: 8, seed: 0, epoch: 0 }, words);
    const firsts = [0, 1, 2].flatMap((place) =>
      Array.from(batchAt(place), (i) => words[i]?.ids[0] as number),
    );
    const fours = Array.from({ length: 6 }, (_, i) => firsts.slice(4 * i, 4 * i + 4));
    for (const four of fours) expect(four).toEqual([0, 1, 2, 3].map((i) => (four[0] as number) + i));
    expect(firsts).not.toEqual(firsts.toSorted((a, b) => a - b));
    expect(firsts.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 24 }, (_, i) => i));
  });

  it("differ between epochs", () => {
    const orders = [0, 1, 2, 3].map((epoch) => flat(all({ ...order, epoch })).join());
    expect(new Set(orders).size).toBe(4);
  });

  it("do not depend on what was asked for before", () => {
    const batchAt = epochBatches(order, examples);
    const inOrder = all();
    for (const place of [52, 3, 51, 49, 50, 0]) expect(batchAt(place)).toEqual(inOrder[place]);
  });
});

describe("packingReport", () => {
  it("adds up padded and trie tokens over the batches", () => {
    const examples = [
      example(0, [1, 2, 3, 4], 2),
      example(1, [1, 2, 3, 4], 2),
      example(2, [1, 2, 5], 2),
      example(3, [1, 2, 6, 7], 2),
    ];
    expect(packingReport(examples, { batchSize: 4, seed: 0 })).toEqual({
      batches: 1,
      paddedTokens: 16, // 4 × 4
      trieTokens: 4, // 1, 2, 3 and 6
      ratio: 4,
      countedBatches: 1,
    });
  });

  it("of many examples is estimated from the first batches of the epoch", () => {
    const examples = Array.from({ length: 10 }, (_, i) => example(i, [1, 2, 3, 4 + i], 2));
    expect(packingReport(examples, { batchSize: 2, seed: 0, countedExamples: 5 })).toEqual({
      batches: 5,
      paddedTokens: 40, // 5 × 8, of 24 that were counted
      trieTokens: 15, // 5 × 3, of 9
      ratio: 8 / 3,
      countedBatches: 3,
    });
  });
});
