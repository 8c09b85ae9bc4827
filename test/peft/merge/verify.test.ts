import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { GgufFileType } from "../../../src/formats/gguf/mixes.ts";
import { writeModelGguf } from "../../../src/formats/gguf/save.ts";
import { writeModelFolder } from "../../../src/formats/hf/save.ts";
import type { BaseModel } from "../../../src/models/base.ts";
import { openBase, openSource } from "../../../src/models/base-model.ts";
import { openAdapter } from "../../../src/peft/files/adapter.ts";
import { type Unmerged, verifyMerged } from "../../../src/peft/merge/verify.ts";
import { mergedWeights } from "../../../src/peft/merge/weights.ts";
import { openRuntime, type Runtime } from "../../../src/runtime/runtime.ts";
import { floats } from "../../../src/tensor/tensor.ts";
import { fixturePath, makeAdapter } from "../adapters.ts";

const MODEL = fixturePath("models/llama");

let cacheFolder: string;
let base: BaseModel;
let runtime: Runtime;
let folder: string;
let output: string;
beforeAll(async () => {
  cacheFolder = await mkdtemp(join(tmpdir(), "lowrank-test-"));
  base = await openBase(MODEL, { cacheFolder, offline: true });
  runtime = openRuntime({ threads: 1 });
});
afterAll(async () => {
  await runtime.close();
  await rm(cacheFolder, { recursive: true });
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-test-"));
  output = join(folder, "merged.gguf");
});
afterEach(() => rm(folder, { recursive: true }));

async function unmerged(path: string): Promise<Unmerged> {
  const adapter = await openAdapter(path, base);
  const merged = mergedWeights(adapter.methods, adapter.theta, base, base.weights, runtime);
  return { base, adapter, merged, runtime };
}

/** The base's own weights but for what `changed` gives, as a file of a type. */
async function write(type: GgufFileType, changed: Unmerged["merged"] | null): Promise<void> {
  const source = await openSource(MODEL, { cacheFolder, offline: true });
  const override = (path: string) => (changed?.paths.includes(path) ? changed.read(path) : null);
  await writeModelGguf(output, source, { type, override });
  await source.close();
}

async function verify(original: Unmerged, path = output): Promise<string> {
  const result = await verifyMerged(original, path, false, { cacheFolder: join(folder, "cache") }).then(
    ({ maxDifference }) => `differs by ${maxDifference}`,
    (error: Error) => error.message,
  );
  await original.merged.close();
  return result;
}

/** Of half a step of Q4_0, the largest change that the test's adapter makes. */
const CHANGE = 0.05;

/** Largest change of a weight, as a share of half a step of Q4_0 in its block. */
async function largestChange({ merged }: Unmerged, path: string): Promise<number> {
  const [before, after] = [(await base.weights.read(path)).data, (await merged.read(path)).data];
  return before.reduce((most, x, i) => {
    const block = before.subarray(i - (i % 32), i - (i % 32) + 32);
    const halfStep = block.reduce((m, v) => Math.max(m, Math.abs(v)), 0) / 16;
    return Math.max(most, Math.abs((after[i] as number) - x) / halfStep);
  }, 0);
}

describe.each(["F16", "BF16", "Q8_0", "Q4_0"] as const)("%s", (type) => {
  test("passes what merging writes, and sees a lost adapter by the names of its weights", async () => {
    const original = await unmerged(join(MODEL, "adapter"));
    await write(type, original.merged);
    expect(await verify(original)).toMatch(/^differs by 0?\.?\d/);
    await rm(output);
    await write(type, null);
    const message = await verify(await unmerged(join(MODEL, "adapter")));
    expect(message).toMatch(
      /^the written weights are not those of base and adapter:\n {2}blk\.0\.attn_q\.weight: element/,
    );
    expect(message).toContain(`the rounding of ${type}`);
    expect(message).toContain("… and 4 more");
  });

  test("sees the loss of an adapter whose changes are far below a step", async () => {
    const path = await makeAdapter(base, join(folder, "adapter"), { alpha: 0.01 });
    const original = await unmerged(path);
    expect(await largestChange(original, "layers.0.attention.v.weight")).toBeLessThan(CHANGE);
    await write(type, null);
    expect(await verify(original)).toMatch(/weights are not those of base and adapter:\n {2}blk\./);
  });
});

test("sees one wrong weight that the adapter does not touch", async () => {
  const original = await unmerged(join(MODEL, "adapter"));
  const norm = "layers.1.mlpNorm.weight";
  const path = base.source.weights.find((w) => /layers\.1\..*norm/i.test(w.path))?.path ?? norm;
  const wrong = (await base.weights.read(path)).data.slice();
  wrong[3] = (wrong[3] as number) * 1.001;
  const { paths, read, close } = original.merged;
  await write("Q4_0", {
    paths: [...paths, path],
    read: async (p) => (p === path ? floats(wrong, [wrong.length]) : read(p)),
    close,
  });
  expect(await verify(original)).toMatch(/blk\.1\.\w+_norm\.weight: element 3 is/);
});

test("sees a wrong configuration, which leaves every weight as it is", async () => {
  const original = await unmerged(join(MODEL, "adapter"));
  output = join(folder, "merged");
  const source = await openSource(MODEL, { cacheFolder, offline: true });
  const override = (p: string) => (original.merged.paths.includes(p) ? original.merged.read(p) : null);
  await writeModelFolder(output, source, { dtype: "BF16", override });
  await source.close();
  const config = join(output, "config.json");
  const json = JSON.parse(await readFile(config, "utf8"));
  await writeFile(config, JSON.stringify({ ...json, rms_norm_eps: 0.5 }));
  expect(await verify(original)).toMatch(
    /^the merged model's logits differ by [\d.]+ from those of its weights under the base's configuration/,
  );
});

test("sees merged weights that are not the adapter's", async () => {
  const original = await unmerged(join(MODEL, "adapter"));
  const read = async (path: string) => base.weights.read(path);
  const lost = { ...original, merged: { ...original.merged, read } };
  await write("Q4_0", lost.merged);
  expect(await verify(lost)).toMatch(
    /^the merged weights' logits differ by [\d.]+ from those of base and adapter apart/,
  );
});
