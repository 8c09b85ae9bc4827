import { expect, test } from "vitest";
import type { Cache } from "../../src/generate/cache.ts";
import type { Decoding } from "../../src/generate/decoding.ts";
import { createLane, type Fed } from "../../src/generate/lane.ts";

/** A cache without memory. */
function emptyCache(): Cache {
  let lengths: number[] = [];
  const none = async (): Promise<void> => undefined;
  return {
    room: 0,
    get lengths() {
      return lengths;
    },
    setRows: async (rows) => {
      lengths = Array.from({ length: rows }, (_, r) => lengths[r] ?? 0);
    },
    truncate: (row, length = 0) => {
      lengths[row] = Math.min(lengths[row] ?? 0, length);
    },
    copy: none,
    drop: none,
    prepare: async () => ({ feeds: {}, keep: {} }),
    advance: () => undefined,
  };
}

/** Counts its tokens; it may wait after some of them. */
function counting(most: number, waitsAfter?: { readonly token: number; readonly for: Promise<void> }) {
  const seen: number[] = [];
  let waits: Promise<void> | null = null;
  const fed: Fed = {
    prompt: [7],
    get finishReason() {
      return seen.length >= most ? "length" : null;
    },
    get waits() {
      return waits;
    },
    push: (logits) => {
      expect(waits).toBeNull();
      seen.push(logits[0] as number);
      if (seen.length === waitsAfter?.token)
        waits = waitsAfter.for.then(() => {
          waits = null;
        });
      return { text: "", id: seen.length };
    },
  };
  return { fed, seen };
}

test("an answer whose grammar is not ready waits; the others go on, and its logits are not lost", async () => {
  const given: number[][] = []; // tokens of each row of each run
  let runs = 0;
  const decoding = {
    add: async (_: Cache, { tokens }: { tokens: readonly (readonly number[])[] }) => {
      given.push(tokens.map((row) => row.length));
      runs++;
      return tokens.filter((row) => row.length > 0).map(() => Float32Array.of(runs));
    },
  } as unknown as Decoding;
  const lane = createLane({
    cache: emptyCache(),
    rows: 2,
    keptRows: 0,
    piece: 8,
    prepare: async () => ({ decoding, feeds: {} }),
    release: async () => undefined,
  });
  let ready = (): void => undefined;
  const waiting = new Promise<void>((resolve) => {
    ready = resolve;
  });
  const slow = counting(3, { token: 1, for: waiting });
  const quick = counting(6);
  const failures: unknown[] = [];
  for (const { fed } of [slow, quick])
    await lane.admit({
      continuation: fed,
      voice: "",
      isCancelled: false,
      give: () => undefined,
      end: (error) => void (error !== undefined && failures.push(error)),
    });
  for (let i = 0; i < 4; i++) await lane.step();
  expect(slow.seen).toEqual([1]); // its prompt
  expect(quick.seen.length).toBeGreaterThan(2);
  ready();
  while (lane.running > 0) await lane.step();
  expect(failures).toEqual([]);
  expect(slow.seen).toEqual([1, 2, expect.any(Number)]); // the logits of the second run, when it could take them
  expect(quick.seen).toHaveLength(6);
  expect(given.some((row) => row[0] === 0 && row[1] === 1)).toBe(true);
});
