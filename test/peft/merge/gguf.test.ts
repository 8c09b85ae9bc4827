import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { InputError, UnsupportedError } from "../../../src/errors.ts";
import { openGguf } from "../../../src/formats/gguf/open.ts";
import { writeModelGguf } from "../../../src/formats/gguf/save.ts";
import { openModel } from "../../../src/formats/open-model.ts";
import { loadModel } from "../../../src/generate/model.ts";
import { openBase } from "../../../src/models/base-model.ts";
import {
  type MergeDType,
  type MergeFormat,
  type MergeOptions,
  mergeAdapter,
} from "../../../src/peft/merge/merge.ts";
import { errorOf } from "../../error-of.ts";
import { FAMILY_NAMES } from "../../models/harness.ts";
import { fixturePath, makeAdapter } from "../adapters.ts";

// The same sums in another order. Seen: 2e-5 on logits up to 8.
const LOGITS = 1e-4;
const IDS = [5, 60, 7, 7, 100, 31, 18, 90, 3, 44];

let cacheFolder: string;
let folder: string;
let output: string;
beforeAll(async () => {
  cacheFolder = await mkdtemp(join(tmpdir(), "lowrank-test-"));
});
afterAll(() => rm(cacheFolder, { recursive: true }));
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-test-"));
  output = join(folder, "merged.gguf");
});
afterEach(async () => {
  expect((await readdir(cacheFolder)).filter((name) => !/^(weights|hashes|checked)$/.test(name))).toEqual([]);
  await rm(folder, { recursive: true });
});

const modelPath = (name: string): string => fixturePath(`models/${name}`);
const adapterPath = (name: string): string => join(modelPath(name), "adapter");

function merge(name: string, options: Partial<MergeOptions> = {}) {
  const [model, adapter] = [modelPath(name), adapterPath(name)];
  return mergeAdapter({ model, adapter, output, cacheFolder, offline: true, format: "gguf", ...options });
}

async function logitsOf(model: string, adapter?: string): Promise<number[]> {
  const options = adapter === undefined ? {} : { adapter };
  const loaded = await loadModel({ model, cacheFolder, offline: true, threads: 1, ...options });
  try {
    return (await loaded.logits(IDS)).flatMap((row) => Array.from(row));
  } finally {
    await loaded.close();
  }
}

function maxDifference(a: readonly number[], b: readonly number[]): number {
  expect(a.length).toBe(b.length);
  return a.reduce((max, v, i) => Math.max(max, Math.abs(v - (b[i] as number))), 0);
}

/** The tiny llama3 stretches its rope by constants that no real model has, and that GGUF files are not read with. */
const READABLE = FAMILY_NAMES.filter((name) => name !== "llama3");

describe.each(READABLE)("%s", (name) => {
  test("the GGUF file, opened again, has the logits of base and adapter apart, and the tokenizer", async () => {
    const result = await merge(name);
    expect(result.maxLogitDifference).toBeGreaterThan(0);
    expect(result.maxLogitDifference).toBeLessThan(LOGITS);
    const apart = await logitsOf(modelPath(name), adapterPath(name));
    expect(maxDifference(await logitsOf(output), apart)).toBeLessThan(LOGITS);
    const [base, written] = [
      await openBase(modelPath(name), { cacheFolder, offline: true }),
      await openBase(output, { cacheFolder, offline: true }),
    ];
    const sample = "<|im_start|>user\nlist the files in this folder<|im_end|>";
    for (const special of [true, false])
      expect(written.tokenizer.encode(sample, { special })).toEqual(
        base.tokenizer.encode(sample, { special }),
      );
    expect(written.eosIds).toEqual(base.eosIds);
    expect(written.source.tokenizer).toMatchObject({
      chatTemplate: base.source.tokenizer.chatTemplate,
      bosToken: base.source.tokenizer.bosToken,
      eosToken: base.source.tokenizer.eosToken,
      padToken: base.source.tokenizer.padToken,
      addBos: base.source.tokenizer.addBos,
    });
    const { architecture: _class, maxPositions: _window, slidingWindow: _none, ...config } = base.config;
    expect(written.config).toMatchObject({ ...config, normEpsilon: Math.fround(config.normEpsilon) });
  });
});

test.each([
  ["float16", "F16", 0.06],
  ["bfloat16", "BF16", 0.6],
  ["q8_0", "Q8_0", 0.7],
  ["q4_0", "Q4_0", 7],
] as const)("%s: matrices written so, vectors as F32", async (dtype, stored, tolerance) => {
  const result = await merge("llama", { dtype });
  const gguf = await openGguf(output);
  const types = new Set([...gguf.entries.values()].filter((e) => e.shape.length > 1).map((e) => e.type));
  const vectors = new Set([...gguf.entries.values()].filter((e) => e.shape.length === 1).map((e) => e.type));
  // The tied embedding is the output layer, which gets 8 bits.
  expect([...types].sort()).toEqual(dtype === "q4_0" ? ["Q4_0", "Q8_0"] : [stored]);
  expect(vectors).toEqual(new Set(["F32"]));
  expect(gguf.values.get("general.quantization_version")).toBe(stored.startsWith("Q") ? 2 : undefined);
  await gguf.close();
  // Logits up to 7; seen 0.03, 0.3, 0.31 and 5.1: random weights of 32 columns suffer more than trained ones.
  expect(result.maxLogitDifference).toBeLessThan(tolerance);
});

test("rows that do not fill blocks are F16", async () => {
  await merge("llama3", { dtype: "q8_0" }).catch(() => null); // not read again, see READABLE
  const source = await openModel(modelPath("llama3"));
  await writeModelGguf(output, source, { type: "Q8_0" });
  await source.close();
  const gguf = await openGguf(output);
  expect(gguf.entries.get("blk.0.ffn_up.weight")?.type).toBe("Q8_0");
  expect(gguf.entries.get("blk.0.ffn_down.weight")).toMatchObject({ type: "F16", shape: [32, 48] });
  await gguf.close();
});

test("Llama 3.1's rope scaling is the tensor of divisors", async () => {
  const source = await openModel(modelPath("llama3"));
  await writeModelGguf(output, source);
  const gguf = await openGguf(output);
  const { data } = await gguf.read("rope_freqs.weight");
  // head_dim 16, factor 8: the first wavelength is kept, the second blended, the rest stretched.
  expect(data).toHaveLength(8);
  expect(data[0]).toBe(1);
  expect(data[1]).toBeGreaterThan(1);
  expect([...data.subarray(4)]).toEqual([8, 8, 8, 8]);
  await gguf.close();
  await source.close();
});

test("an adapter that unties the head writes one", async () => {
  const base = await openBase(modelPath("llama"), { cacheFolder, offline: true });
  const adapter = await makeAdapter(base, join(folder, "adapter"), { targetModules: ["lm_head", "q_proj"] });
  await merge("llama", { adapter });
  const gguf = await openGguf(output);
  expect(gguf.entries.has("output.weight")).toBe(true);
  await gguf.close();
  expect(maxDifference(await logitsOf(output), await logitsOf(modelPath("llama"), adapter))).toBeLessThan(
    LOGITS,
  );
});

test("adapters of mlx-lm and llama.cpp merge like PEFT's", async () => {
  await merge("llama");
  const wanted = await readFile(output);
  for (const file of ["mlx-llama", "gguf-llama.gguf"]) {
    const other = join(folder, `${file}.gguf`);
    await merge("llama", { adapter: fixturePath(`interchange/${file}`), output: other });
    expect((await readFile(other)).equals(wanted)).toBe(true);
  }
});

test("a GGUF model goes out as it came in", async () => {
  for (const name of ["llama", "gpt2"]) {
    const source = await openModel(fixturePath(`formats/${name}.gguf`));
    const path = join(folder, `${name}.gguf`);
    await writeModelGguf(path, source);
    const [one, other] = [await openGguf(fixturePath(`formats/${name}.gguf`)), await openGguf(path)];
    for (const tensor of one.entries.keys()) expect(await other.read(tensor)).toEqual(await one.read(tensor));
    for (const key of ["tokens", "token_type", "merges", "pre", "bos_token_id", "eos_token_id"])
      expect(other.values.get(`tokenizer.ggml.${key}`)).toEqual(one.values.get(`tokenizer.ggml.${key}`));
    for (const file of [one, other, source]) await file.close();
  }
});

describe("refused", () => {
  test("unknown formats and dtypes, a file that is there, another extension", async () => {
    const wrong = { dtype: "q2_k" as MergeDType };
    expect((await errorOf(merge("llama", wrong))).message).toMatch(
      /unknown dtype "q2_k"; known for GGUF: float32/,
    );
    const format = { format: "pickle" as MergeFormat };
    expect(await errorOf(merge("llama", format))).toBeInstanceOf(UnsupportedError);
    await writeFile(output, "mine");
    expect(await errorOf(merge("./nowhere"))).toBeInstanceOf(InputError);
    expect(await readFile(output, "utf8")).toBe("mine");
    const error = await errorOf(merge("llama", { output: join(folder, "merged") }));
    expect(error.message).toMatch(/expected a file that ends in \.gguf/);
  });

  test("weights that float16 cannot hold: nothing is left", async () => {
    const base = await openBase(modelPath("llama"), { cacheFolder, offline: true });
    const adapter = await makeAdapter(base, join(folder, "adapter"), {
      alpha: 1e6,
      targetModules: ["q_proj"],
    });
    const error = await errorOf(merge("llama", { adapter, dtype: "float16" }));
    expect(error.message).toMatch(/blk\.0\.attn_q\.weight: element \d+ is .*, F16 holds up to ±65504/);
    expect(await readdir(folder)).toEqual(["adapter"]);
  });

  test("a merge aborted in the middle leaves nothing", async () => {
    const controller = new AbortController();
    const onProgress = () => controller.abort(new Error("mine"));
    await expect(merge("llama", { signal: controller.signal, onProgress })).rejects.toThrow("mine");
    expect(await readdir(folder)).toEqual([]);
  });
});
