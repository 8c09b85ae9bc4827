import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { InputError, NotFoundError, UnsupportedError } from "../../../src/errors.ts";
import { readAdapter } from "../../../src/formats/peft/adapter.ts";
import type { LoraConfig } from "../../../src/formats/peft/config.ts";
import { readAdapterText } from "../../../src/formats/peft/text.ts";
import { openSafetensors } from "../../../src/formats/safetensors/read.ts";
import { writeSafetensors } from "../../../src/formats/safetensors/write.ts";
import { loadModel } from "../../../src/generate/model.ts";
import { openBase } from "../../../src/models/base-model.ts";
import { combineFolders } from "../../../src/peft/combine/folders.ts";
import { openAdapter } from "../../../src/peft/files/adapter.ts";
import { convertAdapter } from "../../../src/peft/files/convert.ts";
import { compareLogits } from "../../../src/peft/merge/check.ts";
import { type MergeDType, type MergeOptions, mergeAdapter } from "../../../src/peft/merge/merge.ts";
import { openRuntime } from "../../../src/runtime/runtime.ts";
import { errorOf } from "../../error-of.ts";
import { FAMILY_NAMES, readTensors } from "../../models/harness.ts";
import { fixturePath, makeAdapter } from "../adapters.ts";

vi.mock("../../../src/peft/merge/check.ts", async (original) => {
  const actual = await original<typeof import("../../../src/peft/merge/check.ts")>();
  return { ...actual, compareLogits: vi.fn(actual.compareLogits) };
});

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
  output = join(folder, "merged");
});
afterEach(async () => {
  expect(
    (await readdir(cacheFolder)).filter((name) => !["weights", "hashes", "checked"].includes(name)),
  ).toEqual([]);
  await rm(folder, { recursive: true });
});

const modelPath = (name: string): string => fixturePath(`models/${name}`);
const adapterPath = (name: string): string => join(modelPath(name), "adapter");

function merge(model: string, adapter: string, options: Partial<MergeOptions> = {}) {
  return mergeAdapter({ model, adapter, output, cacheFolder, offline: true, ...options });
}

async function logitsOf(model: string, adapter?: string): Promise<Float32Array[]> {
  const options = adapter === undefined ? {} : { adapter };
  const loaded = await loadModel({ model, cacheFolder, offline: true, threads: 1, ...options });
  try {
    return await loaded.logits(IDS);
  } finally {
    await loaded.close();
  }
}

function maxDifference(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  const [x, y] = [a, b].map((rows) => rows.flatMap((row) => Array.from(row))) as [number[], number[]];
  expect(x.length).toBe(y.length);
  return x.reduce((max, v, i) => Math.max(max, Math.abs(v - (y[i] as number))), 0);
}

async function configOf(path: string): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(join(path, "config.json"), "utf8"));
}

async function dtypesOf(path: string): Promise<ReadonlyMap<string, string>> {
  const file = await openSafetensors(join(path, "model.safetensors"));
  const dtypes = new Map([...file.entries].map(([name, { dtype }]) => [name, dtype as string]));
  await file.close();
  return dtypes;
}

describe.each(FAMILY_NAMES)("%s with an adapter made by PEFT", (name) => {
  test("the merged folder, opened again, has the logits of base and adapter apart", async () => {
    const result = await merge(modelPath(name), adapterPath(name));
    const linears = { "llama-sharded": 21, gemma3: 21, phi3: 8, gpt2: 8 }[name as string] ?? 14;
    const warnings = [expect.stringMatching(/is for tiny-.*cannot be told$/)];
    expect(result).toMatchObject({ output, changedWeights: linears, warnings });
    expect(result.maxLogitDifference).toBeGreaterThan(0);
    expect(result.maxLogitDifference).toBeLessThan(LOGITS);
    const apart = await logitsOf(modelPath(name), adapterPath(name));
    expect(maxDifference(await logitsOf(output), apart)).toBeLessThan(LOGITS);
    expect(maxDifference(await logitsOf(modelPath(name)), apart)).toBeGreaterThan(1);
    const { tie_word_embeddings = true } = await configOf(modelPath(name));
    expect((await configOf(output)).tie_word_embeddings ?? true).toBe(tie_word_embeddings);
  });
});

test.each([
  ["float32", "F32", 2e-5],
  ["float16", "F16", 0.06],
  ["bfloat16", "BF16", 0.6],
] as const)("%s: written so, and as near as its rounding", async (dtype, stored, tolerance) => {
  const result = await merge(modelPath("llama"), adapterPath("llama"), { dtype });
  expect([...new Set((await dtypesOf(output)).values())]).toEqual([stored]);
  expect(await configOf(output)).toMatchObject({ torch_dtype: dtype });
  // Logits up to 7; seen 9e-6, 0.03 and 0.3: twice that is allowed.
  const apart = await logitsOf(modelPath("llama"), adapterPath("llama"));
  expect(maxDifference(await logitsOf(output), apart)).toBeLessThan(tolerance);
  expect(result.maxLogitDifference).toBeLessThan(tolerance);
});

describe("what an adapter may change", () => {
  const cases: [string, string, Partial<LoraConfig>, { changed: number; untied?: boolean }][] = [
    ["embedding of a tied model", "llama", { targetModules: ["embed_tokens"] }, { changed: 2, untied: true }],
    ["head of a tied model", "llama", { targetModules: ["lm_head"] }, { changed: 1, untied: true }],
    [
      "both of a tied model",
      "qwen2",
      { targetModules: ["lm_head", "embed_tokens", "q_proj"] },
      { changed: 4, untied: true },
    ],
    [
      "whole embedding of a tied model",
      "qwen3",
      { targetModules: ["v_proj"], modulesToSave: ["embed_tokens"] },
      { changed: 4, untied: true },
    ],
    [
      "whole head of a tied model",
      "llama",
      { targetModules: ["v_proj"], modulesToSave: ["lm_head"] },
      { changed: 3, untied: true },
    ],
    [
      "whole embedding, adapted head",
      "llama",
      { targetModules: ["lm_head"], modulesToSave: ["embed_tokens"] },
      { changed: 2, untied: true },
    ],
    [
      "head and embedding of an untied model",
      "llama3",
      { targetModules: ["lm_head", "embed_tokens"] },
      { changed: 2 },
    ],
    [
      "whole norms and a whole linear",
      "llama",
      { targetModules: ["q_proj"], modulesToSave: ["norm", "down_proj"] },
      { changed: 9 }, // "norm" is every norm, as in PEFT
    ],
    [
      "biases of adapted layers",
      "llama-sharded",
      { targetModules: ["q_proj"], bias: "lora_only" },
      { changed: 6 },
    ],
    ["all biases", "qwen2", { targetModules: ["o_proj"], bias: "all" }, { changed: 8 }],
    ["Conv1D, all biases", "gpt2", { targetModules: ["c_attn"], bias: "all" }, { changed: 15 }],
    [
      "Conv1D and the embeddings of GPT-2",
      "gpt2",
      { targetModules: ["c_proj", "wte", "wpe"] },
      { changed: 7, untied: true },
    ],
    [
      "whole Conv1D and norm",
      "gpt2",
      { targetModules: ["c_attn"], modulesToSave: ["c_fc", "ln_f"] },
      { changed: 8 },
    ],
    ["B's own biases", "llama-sharded", { targetModules: ["q_proj"], loraBias: true }, { changed: 6 }],
    [
      "B's own biases on trained ones, Conv1D",
      "gpt2",
      { targetModules: ["c_attn"], loraBias: true, bias: "all" },
      { changed: 15 },
    ],
    [
      "patterns and rsLoRA",
      "llama",
      { rank: 4, rsLora: true, rankPattern: { v_proj: 2 }, alphaPattern: { "layers.1.mlp.up_proj": 1 } },
      { changed: 14 },
    ],
  ];
  test.each(cases)("%s (%s)", async (_what, name, config, { changed, untied = false }) => {
    const base = await openBase(modelPath(name), { cacheFolder, offline: true });
    const adapter = await makeAdapter(base, join(folder, "adapter"), config);
    const result = await merge(modelPath(name), adapter);
    expect(result.changedWeights).toBe(changed);
    const apart = await logitsOf(modelPath(name), adapter);
    expect(maxDifference(await logitsOf(output), apart)).toBeLessThan(LOGITS);
    expect(maxDifference(await logitsOf(modelPath(name)), apart)).toBeGreaterThan(0.05);
    const wasTied = base.config.tiedEmbeddings;
    const isTied = (await configOf(output)).tie_word_embeddings ?? true;
    expect(isTied).toBe(wasTied && !untied);
    expect((await dtypesOf(output)).has("lm_head.weight")).toBe(!isTied);
  });
});

describe("a bias of B", () => {
  test("adds up over adapters, with their factors", async () => {
    const base = await openBase(modelPath("llama"), { cacheFolder, offline: true });
    const config = { targetModules: ["q_proj", "v_proj"], loraBias: true };
    const one = await makeAdapter(base, join(folder, "one"), config);
    const other = await makeAdapter(base, join(folder, "other"), { targetModules: ["v_proj", "o_proj"] }, 2);
    const double = await makeAdapter(base, join(folder, "double"), { ...config, alpha: 12 });
    const model = await loadModel({
      ...{ model: modelPath("llama"), cacheFolder, offline: true, threads: 1 },
      adapters: { one, again: one, double, other },
    });
    const logitsWith = async (weights: Record<string, number>): Promise<Float32Array[]> => {
      await model.weights(weights);
      return model.logits(IDS);
    };
    const wanted = await logitsWith({ double: 1, other: 1 });
    expect(maxDifference(await logitsWith({ one: 1.5, again: 0.5, other: 1 }), wanted)).toBeLessThan(LOGITS);
    expect(maxDifference(await logitsWith({ one: 1, other: 1 }), wanted)).toBeGreaterThan(0.05);
    await model.close();
  });

  test("needs a bias of the module to merge into; other formats and combinations have no place for it", async () => {
    const base = await openBase(modelPath("llama"), { cacheFolder, offline: true });
    const adapter = await makeAdapter(base, join(folder, "adapter"), {
      ...{ targetModules: ["q_proj", "v_proj"], loraBias: true },
    });
    const said = (e: Error): string => `${e.name}: ${e.message}`;
    expect(said(await errorOf(merge(modelPath("llama"), adapter)))).toContain(
      "UnsupportedError: lora cannot be merged: it has lora_bias, and 4 of its modules have no bias to add it to " +
        "(model.layers.0.self_attn.q_proj)",
    );
    const options = { adapter, model: modelPath("llama"), cacheFolder, offline: true };
    for (const [to, name] of [
      ["mlx", "mlx"],
      ["gguf", "adapter.gguf"],
    ] as const) {
      const refused = errorOf(convertAdapter({ ...options, to, output: join(folder, name) }));
      expect(said(await refused)).toContain(
        "UnsupportedError: this adapter also trains layers.0.attention.q.loraBias",
      );
    }
    const combined = combineFolders({ [adapter]: 1 }, output, { kind: "linear" }, options);
    expect((await errorOf(combined)).message).toContain(
      "has lora_bias, for which a combination has no place",
    );
  });

  test("is not for embeddings, and not beside DoRA or PiSSA", async () => {
    const base = await openBase(modelPath("llama"), { cacheFolder, offline: true });
    const problem = (config: Partial<LoraConfig>): Promise<Error> =>
      errorOf(makeAdapter(base, join(folder, "none"), { loraBias: true, ...config }));
    expect((await problem({ targetModules: ["embed_tokens"] })).message).toContain(
      "model.embed_tokens: is an embedding, which has no lora_bias",
    );
    expect((await problem({ dora: true })).message).toContain("lora_bias: cannot be used with DoRA");
  });
});

describe("from a GGUF", () => {
  test.each(["llama", "gpt2"])(
    "%s gives the folder that merging into the Hugging Face folder gives",
    async (name) => {
      const [gguf, hf] = [fixturePath(`formats/${name}.gguf`), fixturePath(`formats/${name}`)];
      const base = await openBase(hf, { cacheFolder, offline: true });
      const adapter = await makeAdapter(base, join(folder, "adapter"), {});
      const fromFolder = join(folder, "from-folder");
      await merge(hf, adapter, { output: fromFolder });
      const { maxLogitDifference } = await merge(gguf, adapter);
      expect(maxLogitDifference).toBeLessThan(LOGITS);
      const [one, other] = await Promise.all(
        [output, fromFolder].map((path) => readTensors(join(path, "model.safetensors"))),
      );
      expect(one).toEqual(other);
      expect(await readdir(output)).toEqual(
        expect.arrayContaining(["tokenizer.json", "tokenizer_config.json"]),
      );
      const reopened = await openBase(output, { cacheFolder, offline: true });
      expect(reopened.tokenizer.encode("Hello 12 naïve 😀\n")).toEqual(
        base.tokenizer.encode("Hello 12 naïve 😀\n"),
      );
      expect(reopened.eosIds).toEqual((await openBase(gguf, { cacheFolder, offline: true })).eosIds);
    },
  );
});

describe("refused", () => {
  const QUANTIZED =
    /cannot be merged into a base that stays quantized.*Merge to a folder \(float32, float16 or bfloat16\)/;

  test.each(["q4_0", "toString"])("dtype %s: the base would stay quantized", async (dtype) => {
    const error = await errorOf(merge("./nowhere", "./nothing", { dtype: dtype as MergeDType }));
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error.message).toMatch(QUANTIZED);
  });

  test("a .gguf as output", async () => {
    const error = await errorOf(merge("./nowhere", "./nothing", { output: join(folder, "merged.GGUF") }));
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error.message).toMatch(QUANTIZED);
  });

  test("an output folder that holds something, before the model is looked for; an empty one is used", async () => {
    await mkdir(output);
    await merge(modelPath("llama"), adapterPath("llama"));
    const names = await readdir(output);
    const error = await errorOf(merge("./nowhere", "./nothing"));
    expect(error).toBeInstanceOf(InputError);
    expect(error.message).toContain(`${output}: holds ${names.length} entries already`);
    expect(await readdir(output)).toEqual(names);
  });

  test("a model or an adapter that is not there", async () => {
    expect(await errorOf(merge("./nowhere", adapterPath("llama")))).toBeInstanceOf(NotFoundError);
    expect(await errorOf(merge(modelPath("llama"), "./nothing"))).toBeInstanceOf(NotFoundError);
    expect(await readdir(folder)).toEqual([]);
  });

  test("an adapter with other module names: each in one error", async () => {
    const error = (await errorOf(merge(modelPath("llama"), adapterPath("gpt2")))) as InputError;
    expect(error).toBeInstanceOf(InputError);
    for (const target of ["c_attn", "c_fc", "c_proj"])
      expect(error.message).toContain(`target_modules: "${target}" matches no module`);
    expect(await readdir(folder)).toEqual([]);
  });

  test("an adapter of another size and depth: each tensor in one error", async () => {
    const error = (await errorOf(merge(modelPath("llama3"), adapterPath("llama-sharded")))) as InputError;
    expect(error).toBeInstanceOf(InputError);
    const all = error.problems.map((p) => `${p.where}: ${p.message}`);
    // Per layer other sizes of q, k, v (B), o (A), gate, up (B), down (A); and a third layer with 7 pairs.
    expect(error.count).toBe(2 * 7 + 14);
    expect(all).toContain(
      "model.layers.1.self_attn.k_proj (loraB): expected shape [32,4] for this model, got [16,4]",
    );
    expect(all).toContain("model.layers.2.mlp.up_proj (loraA): has no place in this model");
    expect(await readdir(folder)).toEqual([]);
  });

  test("an adapter of a shallower model: what it lacks in one error", async () => {
    const base = await openBase(modelPath("llama"), { cacheFolder, offline: true });
    const adapter = await makeAdapter(base, join(folder, "adapter"), {});
    const error = (await errorOf(merge(modelPath("llama-sharded"), adapter))) as InputError;
    expect(error.problems.map((p) => `${p.where}: ${p.message}`)).toContain(
      "model.layers.2.mlp.up_proj (loraA): is not in the adapter",
    );
    expect(error.count).toBe(14);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])("an adapter with a %s in it", async (value) => {
    await cp(adapterPath("llama"), join(folder, "adapter"), { recursive: true });
    const path = join(folder, "adapter", "adapter_model.safetensors");
    const tensors = await readTensors(path);
    const key = "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight";
    (tensors.get(key)?.data as Float32Array)[3] = value;
    await writeSafetensors(
      path,
      [...tensors].map(([name, t]) => ({ name, shape: t.shape, data: t.data as Float32Array })),
    );
    const error = await errorOf(merge(modelPath("llama"), join(folder, "adapter")));
    expect(error).toBeInstanceOf(InputError);
    expect(error.message).toContain(`model.layers.1.mlp.up_proj.loraB: element 3 is ${value}`);
    expect(await readdir(folder)).toEqual(["adapter"]);
  });

  test("weights that float16 cannot hold", async () => {
    const base = await openBase(modelPath("llama"), { cacheFolder, offline: true });
    const adapter = await makeAdapter(base, join(folder, "adapter"), {
      alpha: 1e6,
      targetModules: ["q_proj"],
    });
    const error = await errorOf(merge(modelPath("llama"), adapter, { dtype: "float16" }));
    expect(error.message).toMatch(
      /model\.layers\.0\.self_attn\.q_proj\.weight: .* is beyond ±65504; write BF16 or F32/,
    );
    expect(await readdir(folder)).toEqual(["adapter"]);
  });

  test("a merge aborted in the middle leaves nothing", async () => {
    const controller = new AbortController();
    const onProgress = () => controller.abort(new Error("mine"));
    const work = merge(modelPath("llama"), adapterPath("llama"), { signal: controller.signal, onProgress });
    await expect(work).rejects.toThrow("mine");
    expect(await readdir(folder)).toEqual([]);
  });
});

describe("the comparison after a merge", () => {
  test.each([1, Number.NaN])("a difference of %s removes the folder and says so", async (maxDifference) => {
    vi.mocked(compareLogits).mockResolvedValueOnce({ maxDifference, maxLogit: 7 });
    const error = await errorOf(merge(modelPath("llama"), adapterPath("llama")));
    expect(error.code).toBe("merge");
    expect(error.message).toBe(
      `${output}: the merged model's logits differ by ${maxDifference} from those of base and adapter apart, ` +
        "expected at most 0.0001 of the largest (7.00); the folder was removed",
    );
    expect(await readdir(folder)).toEqual([]);
  });

  test("sees a base without its adapter, and a single changed weight", async () => {
    const base = await openBase(modelPath("llama"), { cacheFolder, offline: true });
    const adapter = await openAdapter(adapterPath("llama"), base);
    const runtime = openRuntime({ threads: 1 });
    const lost = await compareLogits(base, adapter, base, runtime);
    expect(lost.maxDifference).toBeGreaterThan(1);
    await merge(modelPath("llama"), adapterPath("llama"));
    const path = join(output, "model.safetensors");
    const tensors = await readTensors(path);
    (tensors.get("model.layers.1.mlp.down_proj.weight")?.data as Float32Array)[0] = 5;
    await rm(path);
    await writeSafetensors(
      path,
      [...tensors].map(([name, t]) => ({ name, shape: t.shape, data: t.data as Float32Array })),
    );
    const damaged = await openBase(output, { cacheFolder, offline: true });
    const { maxDifference, maxLogit } = await compareLogits(base, adapter, damaged, runtime);
    await runtime.close();
    expect(maxDifference).toBeGreaterThan(1e-4 * maxLogit);
  });
});

test("the base and the adapter on disk are left as they were", async () => {
  const copy = join(folder, "base");
  await cp(modelPath("llama"), copy, { recursive: true });
  await writeFile(join(copy, "extra.txt"), "mine");
  const before = await readAdapter(join(copy, "adapter"));
  const weights = await readFile(join(copy, "model.safetensors"));
  await merge(copy, join(copy, "adapter"));
  expect((await readAdapter(join(copy, "adapter"))).sha256).toBe(before.sha256);
  expect((await readFile(join(copy, "model.safetensors"))).equals(weights)).toBe(true);
});

describe("an adapter with a chat template of its own", () => {
  const TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
  let adapter: string;
  beforeEach(async () => {
    adapter = join(folder, "adapter");
    await cp(adapterPath("llama"), adapter, { recursive: true });
    await writeFile(join(adapter, "chat_template.jinja"), TEMPLATE);
    await writeFile(join(adapter, "chat_template_args.json"), '{"role": "x"}');
  });

  test("the merged folder has it; what it has no place for is told", async () => {
    const { warnings } = await merge(modelPath("llama"), adapter);
    expect(await readFile(join(output, "chat_template.jinja"), "utf8")).toBe(TEMPLATE);
    expect(warnings).toContain(
      'the merged model has no place for the variables of its chat template: give --template-args \'{"role":"x"}\' with it',
    );
    expect((await openBase(output, { cacheFolder })).source.tokenizer.chatTemplate).toBe(TEMPLATE);
  });

  test("a template that is a link out of the adapter's folder is refused, and nothing written", async () => {
    await writeFile(join(folder, "secret"), TEMPLATE);
    await rm(join(adapter, "chat_template.jinja"));
    await symlink(join(folder, "secret"), join(adapter, "chat_template.jinja"));
    await expect(merge(modelPath("llama"), adapter)).rejects.toThrow(
      "is a link that leads out of its folder",
    );
    expect(await readdir(folder)).not.toContain("merged");
  });

  test("converting and combining keep it; of a GGUF file it is told that it has no place", async () => {
    const access = { model: modelPath("llama"), cacheFolder, offline: true };
    const peft = join(folder, "peft");
    await convertAdapter({ ...access, adapter, to: "peft", output: peft });
    const both = join(folder, "both");
    await combineFolders({ [adapter]: 0.5, [adapterPath("llama")]: 0.5 }, both, { kind: "linear" }, access);
    for (const path of [peft, both])
      expect(await readAdapterText(path)).toEqual({
        tokenizer: null,
        chatTemplate: TEMPLATE,
        templateArgs: { role: "x" },
      });
    const file = await convertAdapter({ ...access, adapter, to: "gguf", output: join(folder, "a.gguf") });
    expect(file.warnings).toContain(
      "a GGUF file has no place for the adapter's chat template, variables of the chat template",
    );
  });
});
