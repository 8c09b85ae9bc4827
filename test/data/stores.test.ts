import { createHash } from "node:crypto";
import { describe, expect, it, onTestFinished } from "vitest";
import type { Example } from "../../src/data/batch.ts";
import { exampleStore, largestSum } from "../../src/data/example-store.ts";
import { rowStore, rowsAt } from "../../src/data/row-store.ts";
import type { DatasetRow } from "../../src/data/rows.ts";
import { openSpill, type Spill } from "../../src/data/spill.ts";
import { visitRows } from "../../src/data/visit-rows.ts";
import { temporaryFolder } from "./files.ts";

const spills: readonly [string, () => Spill | null][] = [
  ["in memory", () => null],
  [
    "on disk",
    () => {
      const spill = openSpill(temporaryFolder(), 100);
      onTestFinished(spill.close);
      return spill;
    },
  ],
];

const ROWS: readonly DatasetRow[] = Array.from({ length: 40 }, (_, i) => ({
  row:
    i % 2 === 0
      ? { kind: "labelled", text: `"ä" \ud800 ${i}`, pair: i % 4 === 0 ? null : "b\n", label: i / 3 }
      : { kind: "conversation", messages: [{ role: "user", content: `${i}`, name: null, n: [1] }] },
  where: { file: i < 20 ? "a.jsonl" : "b.parquet", line: i + 1, unit: i < 20 ? "line" : "row" },
}));

describe.each(spills)("rows %s", (_, spillOf) => {
  const filled = () => {
    const store = rowStore(spillOf());
    for (const { row, where } of ROWS) store.append(JSON.stringify(row), where);
    return store;
  };

  it("are what was put in, with their places", () => {
    const rows = filled();
    expect(rows.length).toBe(40);
    expect([...rows]).toEqual(ROWS);
    expect([39, 0, 20].map((i) => rows.at(i))).toEqual([39, 0, 20].map((i) => ROWS[i]));
    expect([rows.at(-1), rows.at(-41), rows.at(40)]).toEqual([ROWS[39], undefined, undefined]);
    expect(rows.slice(18, 22)).toEqual(ROWS.slice(18, 22));
    for (const [from, to] of [
      [38, 50],
      [-3, undefined],
      [0, -38],
      [-50, 2],
      [5, 5],
      [30, 20],
    ])
      expect(rows.slice(from, to)).toEqual(ROWS.slice(from, to));
  });

  it("can be chosen from", () => {
    const chosen = rowsAt(filled(), Int32Array.of(3, 30));
    expect([...chosen]).toEqual([ROWS[3], ROWS[30]]);
    expect([chosen.length, chosen.at(1), chosen.at(2)]).toEqual([2, ROWS[30], undefined]);
    expect(chosen.sizeBytes).toBe(Math.round(filled().sizeBytes / 20));
  });
});

const EXAMPLES: readonly Example[] = Array.from({ length: 30 }, (_, index) => ({
  ids: Int32Array.from({ length: 1 + (index % 7) }, (_, i) => 2 ** 20 * i + index),
  isLabel: Uint8Array.from({ length: 1 + (index % 7) }, (_, i) => (i + index) & 1),
  index,
  ...(index % 3 === 0 ? { answerStart: index + 1 } : {}),
  ...(index % 5 === 0 ? { types: Uint8Array.from({ length: 1 + (index % 7) }, (_, i) => i & 1) } : {}),
  ...(index % 4 === 0 ? { target: -index / 3 } : {}),
}));

describe.each(spills)("examples %s", (_, spillOf) => {
  const filled = () => {
    const store = exampleStore(spillOf());
    for (const { index, ...example } of EXAMPLES) store.add(example, 3 * index);
    return store.finish();
  };

  it("are what was put in", () => {
    const { examples, rowOf } = filled();
    expect([...examples]).toEqual(EXAMPLES);
    expect([29, 4].map((i) => examples.at(i))).toEqual([EXAMPLES[29], EXAMPLES[4]]);
    expect(examples.at(30)).toBeUndefined();
    expect([...rowOf]).toEqual(EXAMPLES.map(({ index }) => 3 * index));
  });

  it("are counted by length and by labels", () => {
    const stored = filled();
    const sorted = (of: (e: Example) => number): number[] => EXAMPLES.map(of).sort((a, b) => b - a);
    for (const count of [1, 8, 30, 99]) {
      const sum = (of: (e: Example) => number): number =>
        sorted(of)
          .slice(0, count)
          .reduce((a, b) => a + b, 0);
      expect(largestSum(stored.lengths, count)).toBe(sum((e) => e.ids.length));
      expect(largestSum(stored.labelCounts, count)).toBe(sum((e) => e.isLabel.reduce((n, x) => n + x, 0)));
    }
    expect(largestSum(new Map(), 3)).toBe(0);
  });

  it("have a digest that has not changed since it was written down: saved runs depend on it", () => {
    const hash = createHash("sha256");
    for (const { ids, isLabel, types, target } of EXAMPLES) {
      hash.update(`${ids.length} `).update(ids).update(isLabel);
      if (target !== undefined) hash.update(`${target} `);
      if (types) hash.update(types);
    }
    expect(filled().digest).toBe(hash.digest("hex"));
  });
});

describe("visitRows", () => {
  const slowly = (): void => {
    const end = performance.now() + 20;
    while (performance.now() < end);
  };

  it("tells of long work, and of its end", async () => {
    const told: number[] = [];
    const rows = Object.assign([...ROWS], { sizeBytes: 40e6 });
    await visitRows(
      rows,
      "work",
      {
        onProgress: ({ what, doneBytes, totalBytes }) =>
          told.push(Number(what === "work" && doneBytes / Number(totalBytes))),
      },
      slowly,
    );
    expect(told.length).toBeGreaterThan(2);
    expect(told).toEqual([...told].sort((a, b) => a - b));
    expect(told.at(-1)).toBe(1);
  });

  it("says nothing about little work", async () => {
    await visitRows(ROWS, "work", { onProgress: () => expect.unreachable() }, () => undefined);
  });

  it("lets others work in between, and ends where they abort", async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error("enough")), 1);
    let visited = 0;
    const visiting = visitRows(ROWS, "work", { signal: controller.signal }, () => {
      visited++;
      slowly();
    });
    await expect(visiting).rejects.toThrow("enough");
    expect(visited).toBeLessThan(40);
  });
});
