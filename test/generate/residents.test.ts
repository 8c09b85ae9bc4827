import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { engineModel } from "../../src/generate/engine/lanes.ts";
import { openPool } from "../../src/generate/engine/pool.ts";
import { openResidents, type Resident } from "../../src/generate/engine/residents.ts";
import type { BaseModel } from "../../src/models/base.ts";
import { openBase } from "../../src/models/base-model.ts";
import type { PooledAdapter } from "../../src/peft/use/pool.ts";
import { openRuntime } from "../../src/runtime/runtime.ts";
import { fixturePath, makeAdapter } from "../peft/adapters.ts";

let folder: string;
let base: BaseModel;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-test-"));
  base = await openBase(fixturePath("models/llama"), { offline: true });
});
afterAll(() => rm(folder, { recursive: true }));

const make = (name: string, seed: number, rank = 2): Promise<string> =>
  makeAdapter(base, join(folder, name), { rank, targetModules: ["q_proj"] }, seed);

it("an adapter that left memory is read as it lies on disk: its files decide what it is then, and what was computed by it is not used", async () => {
  const residents = openResidents(base, { offline: true }, 1);
  await residents.load("a", await make("a", 1));
  await residents.load("b", await make("b", 2));
  const before = await residents.get("a");
  expect(await residents.get("a")).toBe(before);
  await residents.get("b");
  await make("a", 3, 4);
  const after = await residents.get("a");
  // Keys and values of tokens are kept by this number.
  expect(after.id).not.toBe(before.id);
  expect(after.opened.theta.length).toBe(2 * before.opened.theta.length);
  expect(residents.described.a?.parameters).toBe(after.opened.theta.length);
  const fresh = openResidents(base, { offline: true }, 1);
  await fresh.load("a", join(folder, "a"));
  expect((await fresh.get("a")).opened.theta).toEqual(after.opened.theta);
  // Requests side by side read it once.
  await residents.get("b");
  const both: Resident[] = await Promise.all([residents.get("a"), residents.get("a")]);
  expect(both[0]).toBe(both[1]);
});

it("files that change while they are read give one state or the other, never a mixture", async () => {
  const [one, two] = [await make("one", 5, 2), await make("two", 6, 8)];
  const states = new Set<number>();
  const residents = openResidents(base, { offline: true }, 1);
  await residents.load("moving", await make("moving", 5, 2));
  await residents.load("other", await make("other", 7));
  for (let i = 0; i < 20; i++) {
    await residents.get("other");
    const writing = cp(i % 2 === 0 ? two : one, join(folder, "moving"), { recursive: true });
    const got = await residents.get("moving").catch((error: Error) => error);
    await writing;
    // Half of a file is no adapter, and is said to be none.
    if (!(got instanceof Error)) states.add(got.opened.theta.length);
  }
  await residents.get("other");
  states.add((await residents.get("moving")).opened.theta.length);
  const perRank = (residents.described.other?.parameters as number) / 2;
  for (const length of states) expect([2 * perRank, 8 * perRank]).toContain(length);
});

it("adapters of high rank come and go in one graph, and those in use are put there once", async () => {
  const residents = openResidents(base, { offline: true }, 8);
  const adapters: PooledAdapter[] = [];
  for (let i = 0; i < 8; i++) {
    await residents.load(`r${i}`, await make(`r${i}`, i, 64));
    adapters.push((await residents.get(`r${i}`)).pooled as PooledAdapter);
  }
  const runtime = openRuntime({ device: "cpu", threads: 1 });
  const [load, put] = [vi.spyOn(runtime, "load"), vi.spyOn(runtime, "put")];
  const pool = openPool(runtime, engineModel(base, [], 64), base.weights.folder, residents.updatedPaths);
  const use = async (...used: number[]): Promise<void> => {
    const rows = used.map((i) => new Map([[adapters[i] as PooledAdapter, 1]]));
    await pool.prepare(rows, rows);
  };
  for (let round = 0; round < 3; round++) for (let i = 0; i < 8; i++) await use(i);
  expect(load).toHaveBeenCalledTimes(1);
  await use(0, 1, 2, 3, 4, 5, 6, 7);
  put.mockClear();
  for (let step = 0; step < 20; step++) await use(step % 8, 7);
  // All that are in use are there: none is put again while they come back.
  for (let step = 0; step < 20; step++) await use(0, 1, 2, 3, 4, 5, 6, 7);
  expect(load).toHaveBeenCalledTimes(1);
  expect(put).toHaveBeenCalledTimes(0);
  await pool.close();
  await runtime.close();
});
