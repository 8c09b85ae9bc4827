import { describe, expect, it } from "vitest";
import { batchOrder, packingReport } from "../../src/data/batches.ts";
import { example } from "./random-examples.ts";

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

describe("packingReport", () => {
  it("adds up padded and trie tokens over the batches", () => {
    const examples = [
      example(0, [1, 2, 3, 4], 2),
      example(1, [1, 2, 3, 4], 2),
      example(2, [1, 2, 5], 2),
      example(3, [1, 2, 6, 7], 2),
    ];
    expect(packingReport(examples, 4, 0)).toEqual({
      batches: 1,
      paddedTokens: 16, // 4 × 4
      trieTokens: 4, // 1, 2, 3 and 6
      ratio: 4,
      countedBatches: 1,
    });
  });

  it("of many examples is estimated from the first batches of the epoch", () => {
    const examples = Array.from({ length: 10 }, (_, i) => example(i, [1, 2, 3, 4 + i], 2));
    expect(packingReport(examples, 2, 0, undefined, 5)).toEqual({
      batches: 5,
      paddedTokens: 40, // 5 × 8, of 24 that were counted
      trieTokens: 15, // 5 × 3, of 9
      ratio: 8 / 3,
      countedBatches: 3,
    });
  });
});
