import { describe, expect, test } from "vitest";
import type { Example } from "../../src/data/batch.ts";
import { shareOut } from "../../src/data/share.ts";
import { trieSize } from "../../src/data/trie.ts";

function example(index: number, ...ids: number[]): Example {
  return { index, ids: Int32Array.from(ids), isLabel: Uint8Array.from(ids, (_, i) => (i > 0 ? 1 : 0)) };
}

const range = (count: number, first: number): number[] => Array.from({ length: count }, (_, i) => first + i);

describe("shareOut", () => {
  test("work is counted in tokens, not in rows", () => {
    const long = example(0, ...range(41, 100));
    const short = range(4, 1).map((i) => example(i, ...range(11, 1000 * i)));
    const parts = shareOut([long, ...short], 2);
    expect(parts.map((part) => part.length).sort()).toEqual([1, 4]);
    expect(parts.map(trieSize)).toEqual([40, 40]);
  });

  test("what examples begin with alike stays together", () => {
    const [a, b] = [range(30, 100), range(30, 500)];
    const examples = range(8, 0).map((i) => example(i, ...(i % 2 === 0 ? a : b), 900 + i, 950 + i));
    const parts = shareOut(examples, 2);
    expect(parts.map((part) => part.map(({ index }) => index % 2))).toEqual([
      [0, 0, 0, 0],
      [1, 1, 1, 1],
    ]);
    expect(parts.reduce((sum, part) => sum + trieSize(part), 0)).toBe(trieSize(examples));
  });

  test("every example has one place, whatever the order they come in; more members than examples have none", () => {
    const examples = range(13, 0).map((i) => example(i, i % 3, i % 5, ...range((i * 7) % 11, i)));
    for (const members of [1, 2, 3, 5, 20]) {
      const parts = shareOut(examples, members);
      expect(parts).toHaveLength(members);
      expect(
        parts
          .flat()
          .map(({ index }) => index)
          .sort((x, y) => x - y),
      ).toEqual(range(13, 0));
      expect(shareOut([...examples].reverse(), members)).toEqual(parts);
    }
    expect(shareOut([], 3)).toEqual([[], [], []]);
  });

  test("no other cut of the sorted examples has a smaller largest part", () => {
    const examples = range(9, 0).map((i) => example(i, ...range(2 + ((i * 5) % 7), 10 * i)));
    const sizes = shareOut(examples, 3).map(trieSize);
    const least = Math.min(
      ...range(10, 0).flatMap((i) =>
        range(10 - i, i).map((j) =>
          Math.max(
            trieSize(examples.slice(0, i)),
            trieSize(examples.slice(i, j)),
            trieSize(examples.slice(j)),
          ),
        ),
      ),
    );
    expect(Math.max(...sizes)).toBe(least);
  });

  test("encoders' sequences share nothing", () => {
    const examples = range(6, 0).map((i) => example(i, ...range(5 + i, 1)));
    const size = (list: readonly Example[]): number => list.reduce((n, { ids }) => n + ids.length, 0);
    expect(Math.max(...shareOut(examples, 2, size).map(size))).toBe(26);
  });
});
