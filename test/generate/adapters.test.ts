import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { InputError, UnsupportedError } from "../../src/errors.ts";
import { openSafetensors } from "../../src/formats/safetensors/read.ts";
import { createDecoder } from "../../src/generate/decoder.ts";
import type { LoadedModel } from "../../src/generate/loaded.ts";
import { loadModel } from "../../src/generate/model.ts";
import { openAdapter, writeMethods } from "../../src/peft/files/adapter.ts";
import { mergeAdapter } from "../../src/peft/merge/merge.ts";
import { createMethods } from "../../src/peft/methods/table.ts";
import { baseIdentityOf } from "../../src/peft/model-shape.ts";
import { initialParameters } from "../../src/peft/parameters.ts";
import { random } from "../../src/tensor/random.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { trainConfig } from "../../src/train/config/config.ts";
import { errorOf } from "../error-of.ts";
import { readTensors } from "../models/harness.ts";
import { fixturePath, makeAdapter } from "../peft/adapters.ts";
import { optionsFor } from "../train/options-for.ts";
import { adapterPath, createLoader, type Loader, modelPath } from "./loading.ts";

// Counts the sessions that are loaded.
vi.mock("../../src/generate/decoder.ts", async (original) => {
  const actual = await original<typeof import("../../src/generate/decoder.ts")>();
  return { ...actual, createDecoder: vi.fn(actual.createDecoder) };
});

const SEVERAL = fixturePath("peft/several");
const PATHS = Object.fromEntries(["a", "b", "c"].map((name) => [name, join(SEVERAL, name)]));
// fp32 in PyTorch and here; seen: 2e-6 of logits up to 2.
const LOGITS = 1e-4;

let loader: Loader;
let expected: Map<string, Tensor>;
let ids: number[];
let factors: Record<string, number>;
beforeAll(async () => {
  loader = await createLoader();
  expected = await readTensors(join(SEVERAL, "expected.safetensors"));
  ids = Array.from((expected.get("input_ids") as Tensor).data as Int32Array);
  const file = await openSafetensors(join(SEVERAL, "expected.safetensors"));
  factors = JSON.parse(file.metadata.factors as string);
  await file.close();
});
afterEach(() => loader.closeAll());
afterAll(() => loader.remove());

async function flat(model: LoadedModel): Promise<Float32Array> {
  return Float32Array.from((await model.logits(ids)).flatMap((row) => [...row]));
}

function difference(x: Float32Array, y: ArrayLike<number>): number {
  expect(x.length).toBe(y.length);
  return x.reduce((max, v, i) => Math.max(max, Math.abs(v - (y[i] as number))), 0);
}

async function expectUse(model: LoadedModel, use: string): Promise<void> {
  const want = (expected.get(`logits.${use}`) as Tensor).data as Float32Array;
  expect(difference(await flat(model), want), use).toBeLessThan(LOGITS);
}

/** An adapter of other methods than LoRA, all of its values moved. */
async function otherAdapter(model: LoadedModel, method: string, options = {}): Promise<string> {
  const { base } = model;
  const methods = createMethods(
    method,
    trainConfig(optionsFor(method, { rank: 2, targetModules: ["q_proj"], prefixLength: 2, ...options })),
    base,
  );
  const all = methods.flatMap((m) => m.trainables);
  const theta = await initialParameters(all, 1, (path) => base.weights.read(path)).catch(() => null);
  const generator = random(3, method);
  const count = all.reduce((n, t) => n + t.shape.reduce((a, b) => a * b, 1), 0);
  const moved = (theta ?? new Float32Array(count)).map((x) => x + 0.1 * generator.normal());
  const folder = join(loader.folder, "made", `${method}-${JSON.stringify(options).replace(/\W/g, "")}`);
  await writeMethods(folder, methods, moved, null);
  return folder;
}

describe("several adapters in use equal PEFT", () => {
  test("one by one, together by set, with factors, merged", async () => {
    const model = await loader.load("llama", { adapters: PATHS });
    expect(Object.keys(model.adapters)).toEqual(["a", "b", "c"]);
    expect(model.active).toEqual({ a: 1 });
    expect(model.adapter?.path).toBe(PATHS.a);
    await expectUse(model, "a");
    for (const use of ["b", "c", "a+b", "a+b+c"]) {
      await model.set(use.split("+"));
      expect(Object.keys(model.active).join("+")).toBe(use);
      await expectUse(model, use);
    }
    await model.weights(factors);
    expect(model.active).toEqual(factors);
    await expectUse(model, "mixed");
    await model.merge();
    expect(model.isMerged).toBe(true);
    await expectUse(model, "mixed-merged");
    await model.unmerge();
    await expectUse(model, "mixed");
  });

  test("from the start, and as a merged folder", async () => {
    const model = await loader.load("llama", { adapters: PATHS, weights: factors });
    await expectUse(model, "mixed");
    const output = join(loader.folder, "merged");
    const access = { cacheFolder: loader.folder, offline: true };
    await mergeAdapter({ model: modelPath("llama"), adapters: PATHS, weights: factors, output, ...access });
    await expectUse(await loader.load("llama", { model: output }), "mixed-merged");
  });
});

describe("changes", () => {
  test("of factors, and among adapters of one structure whatever their alpha, load no session", async () => {
    const model = await loader.load("llama");
    const made = (name: string, alpha: number, seed: number): Promise<string> =>
      makeAdapter(model.base, join(loader.folder, name), { rank: 4, alpha }, seed);
    await model.load("x", await made("x", 8, 1));
    await model.load("y", await made("y", 3, 2));
    await model.load("z", await made("z", 5, 3));
    await model.set("x");
    await model.set(["x", "y"]);
    vi.mocked(createDecoder).mockClear();
    const both = await flat(model);
    await model.weights({ x: 0.5, z: -2 });
    const other = await flat(model);
    expect(other).not.toEqual(both);
    await model.set("y");
    await model.set("z");
    await model.set(["x", "y"]);
    expect(await flat(model)).toEqual(both);
    expect(createDecoder).not.toHaveBeenCalled();
  });

  test("disable, enable and unload", async () => {
    const model = await loader.load("llama", { adapters: PATHS, weights: { a: 1, b: 1 } });
    await model.merge();
    await model.disable();
    expect([model.active, model.adapter, model.isMerged]).toEqual([{}, null, false]);
    const base = await flat(await loader.load("llama"));
    expect(await flat(model)).toEqual(base);
    await model.disable();
    await model.enable();
    expect(model.active).toEqual({ a: 1, b: 1 });
    await expectUse(model, "a+b");
    await model.enable();
    await model.unload("c"); // not in use
    await expectUse(model, "a+b");
    await model.unload("a");
    expect([Object.keys(model.adapters), model.active]).toEqual([["b"], { b: 1 }]);
    await expectUse(model, "b");
    await model.disable();
    await model.unload("b");
    await model.enable();
    expect(await flat(model)).toEqual(base);
    await model.load("b", PATHS.b as string);
    expect(model.active).toEqual({});
    await model.set("b");
    await expectUse(model, "b");
    await model.set([]);
    expect(await flat(model)).toEqual(base);
  });

  test("swap takes the place of the default adapter, and leaves the others", async () => {
    const model = await loader.load("llama", {
      adapter: PATHS.a as string,
      adapters: { b: PATHS.b as string },
    });
    expect([Object.keys(model.adapters), model.active]).toEqual([["default", "b"], { default: 1 }]);
    await model.swap(PATHS.c as string);
    await expectUse(model, "c");
    await model.set("b");
    await model.swap(null);
    expect([Object.keys(model.adapters), model.active]).toEqual([["b"], {}]);
  });
});

describe("what cannot be used", () => {
  test("unknown names are listed with the known ones, and nothing changes", async () => {
    const model = await loader.load("llama", { adapters: PATHS });
    const error = (await errorOf(model.set(["a", "x", "y"]))) as InputError;
    expect(error).toBeInstanceOf(InputError);
    expect(error.problems).toEqual(
      ["x", "y"].map((where) => ({
        where,
        message: "no adapter of this name is loaded; loaded: a, b, c",
      })),
    );
    expect((await errorOf(model.unload("x"))).message).toContain("loaded: a, b, c");
    expect((await errorOf(model.load("a", PATHS.b as string))).message).toContain("is loaded already");
    expect((await errorOf(model.load("", PATHS.b as string))).message).toContain("is empty");
    expect((await errorOf(loader.load("llama", { adapters: PATHS, weights: { q: 1 } }))).message).toContain(
      "q:",
    );
    expect((await errorOf(model.weights({ a: Number.NaN }))).message).toContain("expected a finite factor");
    expect(model.active).toEqual({ a: 1 });
    await expectUse(model, "a");
  });

  test("everything that does not fit, over all adapters, in one error", async () => {
    const adapters = { good: PATHS.a as string, large: adapterPath("llama3"), other: adapterPath("gpt2") };
    const error = (await errorOf(loader.load("llama", { adapters }))) as InputError;
    expect(error).toBeInstanceOf(InputError);
    const places = new Set(error.problems.map((p) => p.where.split(":")[0]));
    expect(places).toEqual(new Set(["large", "other"]));
    const twice = await errorOf(
      loader.load("llama", { adapter: PATHS.a as string, adapters: { default: "x" } }),
    );
    expect(twice.message).toContain("adapters.default");
  });

  test("methods other than LoRA act beside it, but have no factor and do not add up", async () => {
    const model = await loader.load("llama", { adapters: { a: PATHS.a as string } });
    await model.load("prompt", await otherAdapter(model, "prefix-embedding"));
    await model.load("prompt2", await otherAdapter(model, "prefix-layer"));
    await model.load("dora", await otherAdapter(model, "dora"));
    await model.load("saved", await otherAdapter(model, "lora", { modulesToSave: ["lm_head"] }));
    const used = async (weights: Record<string, number>): Promise<Float32Array> => {
      await model.weights(weights);
      return flat(model);
    };
    const alone = await used({ prompt: 1 });
    const withLora = await used({ a: 0.5, prompt: 1 });
    expect(difference(withLora, alone)).toBeGreaterThan(1e-3);
    expect(await used({ prompt: 1, a: 0.5 })).toEqual(withLora);
    expect((await errorOf(model.merge())).message).toContain("prefix-embedding cannot be merged");
    expect(await errorOf(model.merge())).toBeInstanceOf(UnsupportedError);
    const error = (await errorOf(model.weights({ a: 1, prompt: 0.5, prompt2: 1, dora: 2 }))) as InputError;
    const found = Object.fromEntries(error.problems.map((p) => [p.where, p.message]));
    expect(found.prompt).toContain("it is prefix-embedding, and only low-rank updates have factors");
    expect(found.dora).toContain("it is dora");
    expect(found["a, dora"]).toMatch(/both train layers\.0\.attention\.q\.loraA \(lora, dora\)/);
    expect(found["prompt, prompt2"]).toBe("each puts tokens of its own into the sequence");
    expect((await errorOf(model.weights({ saved: 2 }))).message).toContain("also trains head.weight whole");
    expect(model.active).toEqual({ prompt: 1, a: 0.5 });
    const both = await used({ saved: 1, a: 0.5 });
    await model.merge();
    expect(difference(await flat(model), both)).toBeLessThan(LOGITS);
  });
});

describe("another base of the same shape", () => {
  const named = async (model: LoadedModel, base: string, name: string): Promise<string> => {
    const path = await makeAdapter(model.base, join(loader.folder, "named", name), { rank: 2 });
    const config = JSON.parse(await readFile(join(path, "adapter_config.json"), "utf8"));
    await writeFile(
      join(path, "adapter_config.json"),
      JSON.stringify({ ...config, base_model_name_or_path: base }),
    );
    return path;
  };

  test("is refused with everything else that does not fit, unless any base is asked for", async () => {
    const model = await loader.load("llama");
    const other = await named(model, modelPath("mistral"), "other");
    const error = (await errorOf(model.load("x", other))) as InputError;
    expect(error.message).toContain(
      `base model: it is for ${modelPath("mistral")}, and the model is ${modelPath("llama")}`,
    );
    expect(error.count).toBe(1);
    const both = (await errorOf(loader.load("llama3", { adapter: other }))) as InputError;
    expect(both.problems[0]?.where).toBe("base model");
    expect(both.problems[1]?.message).toContain("expected shape");
    const any = await loader.load("llama", { adapter: other, anyBase: true });
    expect(any.adapter?.warnings).toEqual([]);
  });

  test.each(["some/model", "/gone/some-model", "some-model"])(
    "that cannot be told from this one (%s) is used with a warning",
    async (base) => {
      const model = await loader.load("llama");
      await model.load("x", await named(model, base, `doubtful-${base.length}`));
      expect(model.adapters.x?.warnings).toEqual([expect.stringContaining(`is for ${base}; its shapes fit`)]);
    },
  );

  test("an adapter of ours knows what it was trained on, whatever its base is called", async () => {
    const llama = await loader.load("llama");
    const path = join(loader.folder, "trained");
    const { methods, theta } = await openAdapter(adapterPath("llama"), llama.base);
    await writeMethods(path, methods, theta, "/gone/llama", baseIdentityOf(llama.base));
    await llama.load("x", path);
    expect(llama.adapters.x?.warnings).toEqual([]); // the same content
    for (const [name, architecture] of [
      ["mistral", "MistralForCausalLM"],
      ["qwen2", "Qwen2ForCausalLM"],
    ] as const) {
      const other = await loader.load(name);
      expect((await errorOf(other.load("x", path))).message).toContain(
        `base model: it was trained on LlamaForCausalLM, and ${modelPath(name)} is ${architecture}`,
      );
      const any = await loader.load(name, { adapter: path, anyBase: true });
      expect(any.adapter?.warnings).toEqual([]);
    }
    const touched = join(loader.folder, "touched");
    await cp(modelPath("llama"), touched, { recursive: true });
    const config = join(touched, "config.json");
    await writeFile(
      config,
      JSON.stringify({ ...JSON.parse(await readFile(config, "utf8")), note: "another" }),
    );
    const doubtful = await loadModel({ model: touched, adapter: path, cacheFolder: loader.folder });
    expect(doubtful.adapter?.warnings).toEqual([
      expect.stringContaining("is for /gone/llama; its shapes fit"),
    ]);
    await doubtful.close();
  });
});
