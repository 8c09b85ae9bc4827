import { cp, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { factorUpdate } from "../../../src/explain/factor-update.ts";
import { type AdapterContent, readAdapter } from "../../../src/formats/peft/adapter.ts";
import { readLabelsFile, writeLabels } from "../../../src/formats/peft/labels.ts";
import { rankOf, scalingOf } from "../../../src/formats/peft/targets.ts";
import { readAdapterText, writeTemplateArgs } from "../../../src/formats/peft/text.ts";
import { type ShrinkOptions, type ShrunkModule, shrinkAdapter } from "../../../src/peft/combine/shrink.ts";
import { shrinkFolder } from "../../../src/peft/combine/shrink-folder.ts";
import { type Matrix, norm, svd } from "../../../src/tensor/linear-algebra.ts";
import type { FloatTensor } from "../../../src/tensor/tensor.ts";
import { scaledColumns, withSpectrum } from "../../explain/matrices.ts";
import { fixturePath } from "../adapters.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-shrink-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** ΔW of a module, in float64. */
function delta({ config, tensors }: AdapterContent, name: string): Promise<Matrix> {
  const slots = tensors.get(name);
  const a = (slots?.loraA ?? slots?.loraEmbeddingA) as FloatTensor;
  const b = (slots?.loraB ?? slots?.loraEmbeddingB) as FloatTensor;
  return factorUpdate({ path: name, kind: "linear", a, b, scaling: scalingOf(config, name) }).delta();
}

function difference(x: Matrix, y: Matrix): number {
  return norm(x.data.map((value, i) => value - (y.data[i] as number)));
}

/** Factors are rounded to float32. */
const FLOAT32 = 2e-6;

// Plain; rsLoRA with ranks and alphas by pattern and an embedding; trained biases; Conv1D; a module that is trained whole; lora_bias.
const ADAPTERS = [
  "models/llama/adapter",
  "explain/other",
  "peft/patterns",
  "models/gpt2/adapter",
  "peft/saved-head",
  "methods/lora-relatives/lora-bias",
];

describe.each(ADAPTERS)("%s in fewer ranks, written and read back", (fixture) => {
  test.each([{ rank: 1 }, { rank: 2 }, { keep: 0.7 }] as ShrinkOptions[])("%j", async (options) => {
    const before = await readAdapter(fixturePath(fixture));
    const output = await mkdtemp(join(folder, "small-"));
    const { modules, relativeError } = await shrinkFolder(fixturePath(fixture), output, options);
    const after = await readAdapter(output);
    expect([...after.tensors.keys()].toSorted()).toEqual([...before.tensors.keys()].toSorted());
    let [lost, whole] = [0, 0];
    for (const m of modules) {
      const [old, now] = [await delta(before, m.name), await delta(after, m.name)];
      const { u, s, v } = svd(old);
      const kept = scaledTo(s, m.rank);
      const size = norm(old.data);
      expect(rankOf(after.config, m.name)).toBe(m.rank);
      expect(scalingOf(after.config, m.name)).toBeCloseTo(scalingOf(before.config, m.name), 10);
      expect(difference(now, withSpectrum(u, kept, v))).toBeLessThan(FLOAT32 * size);
      expect(Math.abs(difference(now, old) / size - m.relativeError)).toBeLessThan(FLOAT32);
      expect(m.deltaNorm).toBeCloseTo(size, 6);
      lost += difference(now, old) ** 2;
      whole += size ** 2;
      checkRank(m, options, [...s]);
    }
    expect(Math.sqrt(lost / whole)).toBeCloseTo(relativeError, 5);
  });
});

function scaledTo(s: Float64Array, rank: number): number[] {
  return [...s].map((x, i) => (i < rank ? x : 0));
}

/** The rank is the one asked for, or the smallest that keeps the share. */
function checkRank({ rank, before }: ShrunkModule, options: ShrinkOptions, s: readonly number[]): void {
  if (options.rank !== undefined) return void expect(rank).toBe(Math.min(before, options.rank));
  const share = (r: number): number =>
    norm(Float64Array.from(s.slice(0, r))) ** 2 / norm(Float64Array.from(s)) ** 2;
  expect(share(rank)).toBeGreaterThanOrEqual((options.keep as number) - 1e-9);
  if (rank > 1) expect(share(rank - 1)).toBeLessThan(options.keep as number);
}

test("what is trained beside the factors stays, and the text and labels of the folder come along", async () => {
  const before = await readAdapter(fixturePath("peft/saved-head"));
  const { content } = shrinkAdapter(before, { rank: 2 });
  expect(content.tensors.get("lm_head")).toBe(before.tensors.get("lm_head"));
  const head = join(folder, "head");
  await cp(fixturePath("encoders/bert/adapter"), head, { recursive: true });
  await writeLabels(head, { labels: ["bad", "good", "odd"], kind: "classes" });
  await writeTemplateArgs(head, { tone: "dry" });
  const output = join(folder, "labels");
  await shrinkFolder(head, output, { rank: 1 });
  expect((await readLabelsFile(output))?.labels).toEqual(["bad", "good", "odd"]);
  expect((await readAdapterText(output)).templateArgs).toEqual({ tone: "dry" });
  expect(await readFile(join(output, "README.md"), "utf8")).toContain("truncated SVD");
});

test("directions that hardly count are found: a rank of 2 within 6", async () => {
  const before = await readAdapter(fixturePath("models/llama/adapter"));
  const strengths = [1, 1, 1e-6, 1e-6];
  const tensors = new Map(
    [...before.tensors].map(([name, slots]) => {
      const b = slots.loraB as FloatTensor;
      const [rows, columns] = b.shape as [number, number];
      const { data } = scaledColumns({ rows, columns, data: Float64Array.from(b.data) }, strengths);
      return [name, { ...slots, loraB: { ...b, data: Float32Array.from(data) } }] as const;
    }),
  );
  const { modules, relativeError } = shrinkAdapter({ ...before, tensors }, { keep: 0.999999 });
  expect(new Set(modules.map((m) => m.rank))).toEqual(new Set([2]));
  expect(relativeError).toBeLessThan(1e-5);
});

test("what cannot be shrunk is refused, and nothing is written", async () => {
  const before = await readAdapter(fixturePath("models/llama/adapter"));
  expect(() => shrinkAdapter(before, { rank: 4 })).toThrow(
    /rank: expected less than the adapter's rank, 4, got 4/,
  );
  expect(() => shrinkAdapter(before, { keep: 1 })).toThrow(/no module keeps 1 of its/);
  expect(() => shrinkAdapter(before, { rank: 1, keep: 0.5 })).toThrow(/expected one of the two/);
  expect(() => shrinkAdapter(before, {})).toThrow(/expected one of the two/);
  expect(() => shrinkAdapter(before, { rank: 0.5 })).toThrow(/whole number from 1, got 0.5/);
  expect(() => shrinkAdapter(before, { keep: 1.5 })).toThrow(/share in \(0, 1\], got 1.5/);
  const dora = await readAdapter(fixturePath("peft/dora"));
  expect(() => shrinkAdapter(dora, { rank: 1 })).toThrow(/DoRA adapter cannot be shrunk/);
  const output = join(folder, "nothing");
  await expect(shrinkFolder(fixturePath("methods/baselines/ia3-llama"), output, { rank: 1 })).rejects.toThrow(
    /IA3/,
  );
  await expect(shrinkFolder(fixturePath("models/llama/adapter"), output, { rank: 9 })).rejects.toThrow(
    /got 9/,
  );
  expect(await readdir(folder)).not.toContain("nothing");
});
