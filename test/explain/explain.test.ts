import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Explanation, explainAdapter } from "../../src/explain/explain.ts";
import { moduleWeight } from "../../src/explain/module-weight.ts";
import { explanationPage } from "../../src/explain/page.ts";
import { initialFactors } from "../../src/explain/start.ts";
import { adapterUpdates } from "../../src/explain/updates.ts";
import { hfModuleName } from "../../src/formats/names.ts";
import { openBase } from "../../src/models/base-model.ts";
import { writeMethods } from "../../src/peft/files/adapter.ts";
import { convertAdapter } from "../../src/peft/files/convert.ts";
import { createMethods } from "../../src/peft/methods/table.ts";
import { initialParameters } from "../../src/peft/parameters.ts";
import { trainConfig } from "../../src/train/config/config.ts";
import { train } from "../../src/train/trainer.ts";
import { fixturePath } from "../peft/adapters.ts";
import { openLab } from "../train/tiny-run.ts";

interface Expected {
  readonly singularValues: readonly number[];
  readonly deltaNorm: number;
  readonly weightNorm: number;
  readonly rank: number;
  readonly fromUpdate: number;
  readonly fromWeight: number;
}

interface ExpectedPair {
  readonly left: readonly (readonly number[])[];
  readonly right: readonly (readonly number[])[];
  readonly cosine: number;
}

const FIXTURE = JSON.parse(readFileSync(fixturePath("explain/explain.json"), "utf8")) as {
  readonly cases: Readonly<Record<string, Readonly<Record<string, Expected>>>>;
  readonly pair: Readonly<Record<string, ExpectedPair>>;
};

let cacheFolder: string;
beforeAll(async () => {
  cacheFolder = await mkdtemp(join(tmpdir(), "lowrank-explain-"));
});
afterAll(() => rm(cacheFolder, { recursive: true }));

const LLAMA = fixturePath("models/llama");
const ADAPTER = join(LLAMA, "adapter");
const OTHER = fixturePath("explain/other");

function explain(adapter: string, base: string, more: object = {}): Promise<Explanation> {
  const model = fixturePath(`models/${base}`);
  return explainAdapter(adapter, { model, anyBase: true, offline: true, cacheFolder, ...more });
}

describe("PEFT's ΔW in float64 has these numbers", () => {
  // Factors are exact in float64 but for the scaling; the base's weights are float32, and what merging adds to one is a difference
  // of float32 numbers: 6e-8 of the weight, which is up to 20 times the update.
  test.each([
    ["llama", "llama", "models/llama/adapter", 1e-6],
    ["other", "llama", "explain/other", 1e-6],
    ["gpt2", "gpt2", "models/gpt2/adapter", 1e-6],
    ["adalora", "llama", "methods/lora-relatives/adalora", 1e-6],
    ["vera", "llama-sharded", "methods/lora-relatives/vera", 1e-6],
    ["pissa", "llama", "methods/lora-relatives/pissa", 1e-6],
    ["dora", "gpt2", "methods/lora-relatives/dora-gpt2", 1e-5],
    ["ia3", "llama", "methods/baselines/ia3-llama", 1e-5],
  ])("%s on %s", async (name, base, adapter, tolerance) => {
    const { modules, base: used } = await explain(fixturePath(adapter), base);
    const expected = FIXTURE.cases[name] as Readonly<Record<string, Expected>>;
    const opened = await openBase(fixturePath(`models/${base}`), { offline: true, cacheFolder });
    const names = modules.map((m) => hfModuleName(opened.config.family, m.path));
    expect(names.toSorted()).toEqual(Object.keys(expected).toSorted());
    expect(Object.values(used?.storages ?? {}).reduce((a, b) => a + b, 0)).toBe(modules.length);
    modules.forEach((m, i) => {
      const own = expected[names[i] as string] as Expected;
      const near = (x: number | null | undefined, y: number, scale = y): void =>
        void expect(Math.abs((x as number) - y), m.path).toBeLessThan(tolerance * scale);
      near(m.deltaNorm, own.deltaNorm);
      near(m.weightNorm, own.weightNorm);
      expect(m.amplification?.rank).toBe(own.rank);
      own.singularValues
        .slice(0, own.rank)
        .forEach((s, k) => void near(m.singularValues[k], s, own.deltaNorm));
      near(m.amplification?.fromUpdate, own.fromUpdate, own.weightNorm);
      near(m.amplification?.fromWeight, own.fromWeight, own.weightNorm);
      near(m.amplification?.factor, own.deltaNorm / own.fromUpdate);
    });
  });

  test("two adapters: φ of left and right directions, and the cosine", async () => {
    const { comparison } = await explain(ADAPTER, "llama", { other: OTHER });
    const modules = comparison?.modules ?? [];
    expect(modules.map((m) => hfModuleName("llama", m.path)).toSorted()).toEqual(
      Object.keys(FIXTURE.pair).toSorted(),
    );
    for (const m of modules) {
      const own = FIXTURE.pair[hfModuleName("llama", m.path)] as ExpectedPair;
      expect(m.cosine).toBeCloseTo(own.cosine, 6);
      for (const side of ["left", "right"] as const)
        for (const [i, row] of own[side].entries())
          for (const [j, phi] of row.entries()) expect(m[side]?.phi[i]?.[j]).toBeCloseTo(phi, 5);
    }
    expect(comparison?.notes.join("\n")).toMatch(/9 modules are changed by one of the two only/);
  });
});

describe("formats", () => {
  test("an adapter says the same from PEFT, mlx-lm and GGUF", async () => {
    const peft = await explain(ADAPTER, "llama", { ownDirections: false });
    for (const to of ["mlx", "gguf"] as const) {
      const output = join(cacheFolder, to === "gguf" ? "a.gguf" : "mlx");
      await convertAdapter({
        adapter: ADAPTER,
        model: LLAMA,
        anyBase: true,
        to,
        output,
        offline: true,
        cacheFolder,
      });
      const other = await explain(output, "llama", { ownDirections: false });
      expect(other.modules.map((m) => m.path)).toEqual(peft.modules.map((m) => m.path));
      other.modules.forEach((m, i) => {
        const own = peft.modules[i] as typeof m;
        // float32 factors, into which a scaling was folded.
        expect(m.deltaNorm / own.deltaNorm).toBeCloseTo(1, 6);
        expect((m.amplification?.fromUpdate ?? 0) / (own.amplification?.fromUpdate ?? 0)).toBeCloseTo(1, 5);
      });
    }
  });

  test("without the base: what the adapter alone says, and a note", async () => {
    const { modules, base, notes, total } = await explainAdapter(OTHER, { offline: true, cacheFolder });
    const whole = await explain(OTHER, "llama", { ownDirections: false });
    expect(base).toBeNull();
    expect(notes).toEqual(["its base model tiny/llama could not be had"]);
    expect(modules.map((m) => m.path)).toContain("model.layers.1.mlp.down_proj");
    expect(modules.map((m) => [m.layer, m.matrix])).toContainEqual([1, "mlp.down_proj"]);
    expect(total.deltaNorm).toBeCloseTo(whole.total.deltaNorm, 10);
    expect(total.weightNorm).toBeNull();
    const shaped = await explain(OTHER, "llama", { base: false });
    expect(shaped.modules.map((m) => m.path)).toContain("layers.1.mlp.down");
    expect(shaped.modules.every((m) => m.amplification === null && m.rank !== null)).toBe(true);
  });

  test("without the base, what needs it is refused or left out by number", async () => {
    const dora = fixturePath("methods/lora-relatives/dora-gpt2");
    await expect(explainAdapter(dora, { offline: true, cacheFolder })).rejects.toThrow(
      /DoRA's ΔW depends on the base's weights, and its base model .* could not be had/,
    );
    const left = await explain(dora, "gpt2", { base: false });
    expect(left.modules).toEqual([]);
    expect(left.notes.join("\n")).toMatch(/seen beside the base only are left out, 8 of them/);
    const gguf = fixturePath("interchange/gguf-llama.gguf");
    await expect(explainAdapter(gguf, { offline: true, cacheFolder })).rejects.toThrow(/give --model/);
  });
});

describe("methods without a ΔW of matrices", () => {
  test.each([
    ["methods/prefix/llama-prefix", "llama", "prefix-tuning", /no weight holds them/],
    ["methods/prefix/llama-prompt", "llama", "prefix-embedding", /no weight holds them/],
    ["methods/baselines/pfeiffer-llama", "llama", "adapter-pfeiffer", /no weight holds them/],
  ])("%s", async (adapter, base, method, reason) => {
    const { modules, withoutUpdate, ranks, total } = await explain(fixturePath(adapter), base);
    expect([modules, ranks, total.modules]).toEqual([[], null, 0]);
    expect(withoutUpdate).toHaveLength(1);
    expect(withoutUpdate[0]?.method).toBe(method);
    expect(withoutUpdate[0]?.reason).toMatch(reason);
    expect(withoutUpdate[0]?.parameters).toBeGreaterThan(0);
  });

  test("biases alone: their number", async () => {
    const { modules, notes } = await explain(fixturePath("methods/baselines/bitfit-gpt2"), "gpt2");
    expect(modules).toEqual([]);
    expect(notes.join("\n")).toMatch(/biases and norms change as well, \d+ of them/);
  });

  test("full fine-tuning: every matrix, and none of the tied output layer", async () => {
    const base = await openBase(LLAMA, { offline: true, cacheFolder });
    const methods = createMethods("full", trainConfig({ method: "full" }), base);
    const trainables = methods.flatMap((m) => m.trainables);
    const theta = await initialParameters(trainables, 1, base.weights.read);
    const folder = join(cacheFolder, "full");
    await writeMethods(
      folder,
      methods,
      theta.map((x) => 1.5 * x),
      null,
    );
    const { modules, notes, total } = await explain(folder, "llama");
    expect(modules).toHaveLength(15);
    expect(modules.map((m) => m.path)).toContain("embed");
    // ΔW = W/2, which acts on W's own directions.
    expect(total.deltaNorm / (total.weightNorm as number)).toBeCloseTo(0.5, 6);
    for (const m of modules)
      expect(m.amplification?.fromUpdate).toBeCloseTo(m.amplification?.fromWeight ?? 0, 4);
    expect(notes.join("\n")).toMatch(/biases and norms change as well, 5 of them/);
  });
});

test("the weight of a module by either name, in the orientation of B·A", async () => {
  const gpt2 = await openBase(fixturePath("models/gpt2"), { offline: true, cacheFolder });
  const updates = await adapterUpdates(fixturePath("models/gpt2/adapter"), {
    ...{ model: fixturePath("models/gpt2"), anyBase: true, offline: true, cacheFolder },
  });
  for (const { path, shape } of updates.modules)
    expect((await moduleWeight(gpt2, path)).shape).toEqual(shape);
  await updates.close();
  const name = "transformer.h.0.attn.c_attn";
  expect((await moduleWeight(gpt2, name)).data).toEqual(
    (await moduleWeight(gpt2, "layers.0.attention.qkv")).data,
  );
  const llama = await openBase(LLAMA, { offline: true, cacheFolder });
  expect((await moduleWeight(llama, "embed")).shape).toEqual([32, 128]);
  expect((await moduleWeight(llama, "lm_head")).shape).toEqual([128, 32]);
  await expect(moduleWeight(llama, "layers.9.attention.q")).rejects.toThrow(
    /no linear layer or embedding "layers.9/,
  );
});

test("step 0: A is the seed's noise, B is 0", async () => {
  const base = await openBase(LLAMA, { offline: true, cacheFolder });
  const [one, again, two] = [
    await initialFactors(base, { rank: 4, seed: 1 }),
    await initialFactors(base, { rank: 4, seed: 1 }),
    await initialFactors(base, { rank: 4, seed: 2 }),
  ];
  const q = "layers.0.attention.q";
  expect(one.get(q)?.a.shape).toEqual([4, 32]);
  expect(one.get(q)?.b.data.every((x) => x === 0)).toBe(true);
  expect(again.get(q)?.a.data).toEqual(one.get(q)?.a.data);
  expect(two.get(q)?.a.data).not.toEqual(one.get(q)?.a.data);
});

test("two runs: the noise at step 0 is what they started from", async () => {
  const lab = openLab();
  try {
    const run = (seed: number) => ({
      ...{ model: LLAMA, data: [lab.data], output: lab.path(`run-${seed}`), seed, rank: 4, maxSteps: 1 },
      ...{ learningRate: 1e-9, offline: true },
    });
    for (const seed of [1, 2]) for await (const _ of train(run(seed)));
    const options = { ...{ model: LLAMA, offline: true }, other: lab.path("run-2"), ownDirections: false };
    const { comparison } = await explainAdapter(lab.path("run-1"), options);
    expect(comparison?.modules).toHaveLength(14);
    // One step of 1e-9 leaves A where it was.
    for (const m of comparison?.modules ?? [])
      for (const [i, row] of (m.a?.phi ?? []).entries())
        for (const [j, phi] of row.entries())
          expect(comparison?.atStart[m.path]?.phi[i]?.[j]).toBeCloseTo(phi, 5);
  } finally {
    lab.remove();
  }
});

test("what cannot be compared, and wrong options", async () => {
  const relative = fixturePath("methods/prefix/llama-prefix");
  await expect(explain(ADAPTER, "llama", { other: relative })).rejects.toThrow(/change no module in common/);
  await expect(explain(ADAPTER, "llama", { directions: 0 })).rejects.toThrow(/whole number from 1, got 0/);
  await expect(explain(ADAPTER, "nowhere")).rejects.toThrow(/nowhere/);
});

test("the page holds every module, asks nothing of the network, and escapes what files say", async () => {
  const explanation = await explain(ADAPTER, "llama", { other: OTHER });
  const page = await explanationPage({ ...explanation, notes: ["<script>alert(1)</script>"] });
  for (const m of explanation.modules) expect(page).toContain(m.path);
  expect(page).not.toMatch(/<script|\ssrc=|<link|@import|url\((?!#)/);
  expect(page).toContain("&#60;script&#62;");
  expect(page).toContain("prefers-color-scheme: dark");
  expect(page.match(/<svg/g)).toHaveLength(7); // three by layer, left, right, A, cosine
});
