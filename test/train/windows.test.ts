import { describe, expect, test } from "vitest";
import { stepsPerEpoch, totalSteps, type WindowOptions, windowReader } from "../../src/train/windows.ts";
import { example } from "../data/random-examples.ts";

const options: WindowOptions = {
  ...{ examples: 23, batchSize: 3, accumulation: 2 },
  ...{ epochs: 2.5, maxSteps: null, seed: 4 },
};

test("updates per epoch and in all", () => {
  expect(stepsPerEpoch(options)).toBe(4); // 8 micro-batches, the last of 2 examples
  expect(totalSteps(options)).toBe(10);
  expect(totalSteps({ ...options, epochs: 0.01 })).toBe(1);
  expect(totalSteps({ ...options, maxSteps: 7 })).toBe(7);
});

describe("windows", () => {
  const read = windowReader(options);
  const epoch = (n: number): number[][] =>
    [1, 2, 3, 4].map((step) => read(4 * n + step).flatMap((batch) => Array.from(batch)));

  test("an epoch takes every example once, and no window crosses its end", () => {
    for (const n of [0, 1, 2]) {
      expect(epoch(n).map((window) => window.length)).toEqual([6, 6, 6, 5]);
      expect(
        epoch(n)
          .flat()
          .sort((a, b) => a - b),
      ).toEqual(Array.from({ length: 23 }, (_, i) => i));
    }
    expect(read(4).map((batch) => batch.length)).toEqual([3, 2]);
  });

  test("every epoch and every seed has its own order", () => {
    const other = windowReader({ ...options, seed: 5 })(1);
    expect(new Set([0, 1, 2].map((n) => epoch(n).join())).size).toBe(3);
    expect(other).not.toEqual(read(1));
  });

  test("a step's examples do not depend on the steps asked for before", () => {
    const inOrder = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((step) => read(step));
    for (const step of [9, 1, 5, 3, 8]) expect(windowReader(options)(step)).toEqual(inOrder[step - 1]);
    expect([7, 2].map((step) => read(step))).toEqual([inOrder[6], inOrder[1]]);
  });

  test("accumulation only joins micro-batches", () => {
    const single = windowReader({ ...options, accumulation: 1 });
    expect(read(2)).toEqual([single(3)[0], single(4)[0]]);
  });

  test("grouped by prefix: every example once, step by step as from the start", () => {
    const examples = Array.from({ length: 23 }, (_, i) => example(i, [i % 3, i % 2, i], 1));
    const grouped = windowReader(options, examples);
    for (const first of [1, 5]) {
      const indices = [0, 1, 2, 3].flatMap((i) => grouped(first + i).flatMap((batch) => Array.from(batch)));
      expect(indices.sort((a, b) => a - b)).toEqual(Array.from({ length: 23 }, (_, i) => i));
    }
    for (const step of [7, 2, 4]) expect(windowReader(options, examples)(step)).toEqual(grouped(step));
  });
});
