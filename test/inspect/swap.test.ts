import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { measureSwap, type SwapOptions, type SwapReport } from "../../src/inspect/swap.ts";
import { fixturePath } from "../peft/adapters.ts";
import { openLab, tinyModel } from "../train/tiny-run.ts";

const lab = openLab();
afterAll(lab.remove);
process.env.TMPDIR = lab.folder;

async function reportOf(options: Partial<SwapOptions>): Promise<{ report: SwapReport; done: number[] }> {
  const done: number[] = [];
  let report: SwapReport | null = null;
  for await (const event of measureSwap({
    model: tinyModel("llama"),
    offline: true,
    threads: 1,
    ...options,
  })) {
    if (event.type === "adapters") done.push(event.done);
    if (event.type === "result") report = event;
  }
  return { report: report as unknown as SwapReport, done };
}

test("random adapters: bytes by the formula, nothing left on disk", async () => {
  const { report, done } = await reportOf({ count: 3, rank: 2 });
  expect(done).toEqual([1, 2, 3]);
  // d 32, k and v of 16, two layers: q 2·(32 + 32), v 2·(32 + 16) values each.
  const parameterBytes = 4 * 2 * (2 * 64 + 2 * 48);
  expect(report).toMatchObject({ adapters: 3, isRandom: true, parameterBytes });
  expect(report.fileBytes).toBeGreaterThan(parameterBytes);
  expect(report.fileBytes).toBeLessThan(parameterBytes + 4000); // configuration and names
  expect(report.storageBytes.merged).toBe(3 * report.modelBytes);
  expect(report.storageBytes.together).toBe(report.modelBytes + 3 * report.fileBytes);
  expect([report.swapping.count, report.loading.count]).toEqual([30, 3]);
  expect(report.merging).toMatchObject({ merge: { count: 3 }, unmerge: { count: 3 } });
  expect(report.peakBytes).toBeGreaterThanOrEqual(report.residentBytes.base);
  expect((await readdir(lab.folder)).filter((n) => n.startsWith("lowrank-swap"))).toEqual([]);
});

test("given adapters; those that cannot merge say why", async () => {
  const several = fixturePath("peft/several");
  const adapters = { a: join(several, "a"), b: join(several, "b") };
  const { report } = await reportOf({ adapters });
  expect(report).toMatchObject({ adapters: 2, isRandom: false });
  const prompt = { p: fixturePath("methods/prefix/llama-prompt") };
  expect((await reportOf({ adapters: prompt })).report.merging).toContain(
    "prefix-embedding cannot be merged",
  );
  await expect(reportOf({ count: 0, rank: 1.5 })).rejects.toThrow(/count: .*got 0\n {2}rank: .*got 1.5/);
});
