import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type CellRecord, type CellState, openLab } from "../../experiments/lab/lab.ts";
import { loraOn, QV } from "../../experiments/lab/methods.ts";
import { SIZES } from "../../experiments/lab/sizes.ts";
import { compare, deviation, differenceMargin, median, spread } from "../../experiments/lab/statistics.ts";
import { addressOf, openStore } from "../../experiments/lab/store.ts";
import { splitRows } from "../../experiments/lab/tasks.ts";
import { EXPERIMENTS } from "../../experiments/table.ts";
import { temporaryFolder } from "../formats/fixtures.ts";

const FILES = {
  ...{ train: "t", validation: "v", test: "e", digest: "d" },
  hasReferences: { validation: false, test: false },
};
const tasks = new Map([["sql", FILES]]);
const ORIGIN = { lowrank: "0", weights: "w", machine: "c" };

describe("statistics", () => {
  it("deviation, median and the margin of a difference are those of a textbook", () => {
    expect(deviation([2, 4, 4, 4, 5, 5, 7, 9])).toBeCloseTo(Math.sqrt(32 / 7), 12);
    expect([median([3, 1, 2]), median([4, 1, 3, 2])]).toEqual([2, 2.5]);
    // Equal variances and sizes: t(4; 97.5%) · √(2·s²/3) with s² = 1.
    expect(differenceMargin([1, 2, 3], [11, 12, 13])).toBeCloseTo(2.776 * Math.sqrt(2 / 3), 6);
  });

  it("a difference within noise is none, and one value tells no noise", () => {
    expect(compare([1, 2, 3], [1.1, 2.1, 3.1])).toBe(0);
    expect(compare([1, 1.01, 0.99], [2, 2.01, 1.99])).toBe(-1);
    expect(compare([1], [2])).toBeNaN();
    expect([spread([0.5]), spread([1, 2, 3], 1), spread([])]).toEqual(["0.500 (1)", "2.0 ± 1.0 (3)", "–"]);
  });
});

describe("cells", () => {
  it("an address follows from the key's content, not from the order of its fields", () => {
    expect(addressOf({ a: 1, b: [1, { c: 2, d: 3 }] })).toBe(addressOf({ b: [1, { d: 3, c: 2 }], a: 1 }));
    expect(addressOf({ a: 1 })).not.toBe(addressOf({ a: 2 }));
  });

  it("one that is damaged, or of another key, counts as none", async () => {
    const store = await openStore(await temporaryFolder());
    const key = { a: 1 };
    await store.write(addressOf(key), { key, result: 5, seconds: 2 });
    expect(await store.read(addressOf(key))).toEqual({ key, result: 5, seconds: 2 });
    await writeFile(
      join(store.folder, "cells", `${addressOf({ a: 2 })}.json`),
      JSON.stringify({ key, result: 5, seconds: 1 }),
    );
    expect(await store.read(addressOf({ a: 2 }))).toBeNull();
    await writeFile(join(store.folder, "cells", `${addressOf(key)}.json`), "{");
    expect(await store.read(addressOf(key))).toBeNull();
    expect((await readdir(join(store.folder, "cells"))).filter((name) => name.endsWith(".partial"))).toEqual(
      [],
    );
  });

  it("numbers that JSON does not have come back", async () => {
    const store = await openStore(await temporaryFolder());
    const result = { loss: Number.NaN, most: Number.POSITIVE_INFINITY, list: [1, Number.NaN] };
    await store.write(addressOf("x"), { key: "x", result, seconds: 1 });
    expect((await store.read(addressOf("x")))?.result).toEqual(result);
  });

  it("another version, or other weights, are other cells", async () => {
    const store = await openStore(await temporaryFolder());
    const seen = new Set<string>();
    for (const origin of [ORIGIN, { ...ORIGIN, lowrank: "1" }, { ...ORIGIN, weights: "x" }]) {
      const onCell = ({ address }: CellState) => void seen.add(address);
      const { signal } = new AbortController();
      const parts = { model: "m", origin, size: SIZES.quick, store, tasks, offline: true, signal, onCell };
      await openLab({ name: "e", version: 1 }, parts, [], true).train({ method: loraOn(QV, 1), seed: 0 });
    }
    expect(seen.size).toBe(6);
  });

  it("splits have no row in common, whichever the data have", () => {
    const rows = Array.from({ length: 30 }, (_, i) => `${i}`);
    for (const [validation, test] of [
      [[], []],
      [["v"], []],
      [[], ["t"]],
      [["v"], ["t"]],
    ] as const) {
      const splits = splitRows(rows, validation, test);
      const all = [...splits.train, ...splits.validation, ...splits.test];
      expect(new Set(all).size).toBe(all.length);
      expect(all.length).toBe(30 + validation.length + test.length);
      expect(Math.min(splits.validation.length, splits.test.length)).toBeGreaterThan(0);
    }
  });

  it("a finished one is read and not measured again; counting measures nothing", async () => {
    const store = await openStore(await temporaryFolder());
    const states: CellState[] = [];
    const parts = {
      ...{ model: "m", origin: ORIGIN, size: SIZES.quick, store, tasks, offline: true },
      signal: new AbortController().signal,
      onCell: (state: CellState) => void states.push(state),
    };
    const records: CellRecord[] = [];
    const experiment = { name: "e", version: 1 };
    let measured = 0;
    const work = async (): Promise<number> => ++measured;
    const counting = openLab(experiment, parts, records, true);
    expect(await counting.measured({ what: "x" }, Number.NaN, 1, work)).toBeNaN();
    expect((await counting.train({ method: loraOn(QV, 1), seed: 0 })).loss).toBeNaN();
    expect([measured, records]).toEqual([0, []]);
    for (let i = 0; i < 2; i++)
      expect(
        await openLab(experiment, parts, records, false).measured({ what: "x" }, Number.NaN, 1, work),
      ).toBe(1);
    expect(
      await openLab({ ...experiment, version: 2 }, parts, records, false).measured(
        { what: "x" },
        Number.NaN,
        1,
        work,
      ),
    ).toBe(2);
    expect(states.map(({ isDone, isKept }) => [isDone, isKept])).toEqual([
      [false, false], // counted
      [false, false], // a training run
      [false, false], // and its loss
      [false, false], // measured
      [true, false],
      [true, true], // read
      [false, false], // another version
      [true, false],
    ]);
  });
});

describe("the table of experiments", () => {
  it("has one name each, and every experiment can be counted without measuring", async () => {
    const names = EXPERIMENTS.map((e) => e.name);
    expect(new Set(names).size).toBe(names.length);
    const store = await openStore(await temporaryFolder());
    const tasks = new Map(
      ["sql", "facts"].map((name) => [
        name,
        {
          train: "t",
          validation: "v",
          test: "e",
          digest: name,
          hasReferences: { validation: false, test: false },
        },
      ]),
    );
    for (const size of Object.values(SIZES)) {
      const cells = new Set<string>();
      const onCell = ({ address }: CellState) => void cells.add(address);
      const parts = {
        model: "m",
        origin: ORIGIN,
        size,
        store,
        tasks,
        offline: true,
        signal: new AbortController().signal,
        onCell,
      };
      for (const experiment of EXPERIMENTS) {
        const { claims, tables } = await experiment.measure(openLab(experiment, parts, [], true), size);
        expect(tables.length, experiment.name).toBeGreaterThan(0);
        expect(claims.every((c) => c.test !== "" && c.text !== "")).toBe(true);
      }
      expect(cells.size).toBeGreaterThan(20);
    }
  });

  it("uses the public surface alone", async () => {
    const root = new URL("../../experiments/", import.meta.url);
    const files = (await readdir(root, { recursive: true })).filter((name) => name.endsWith(".ts"));
    for (const file of files) {
      const text = await readFile(new URL(file, root), "utf8");
      const from = [...text.matchAll(/from "([^"]+)"/g)].map((m) => m[1] as string);
      expect(
        from.filter((path) => !/^(\.{1,2}\/(?!.*src)|node:|lowrank$|echarts\/)/.test(path)),
        file,
      ).toEqual([]);
    }
  });
});
