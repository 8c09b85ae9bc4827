import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { InputError, UnsupportedError } from "../../../src/errors.ts";
import { readGgufAdapter } from "../../../src/formats/gguf/adapter.ts";
import { openGguf } from "../../../src/formats/gguf/open.ts";
import { readMlxAdapter } from "../../../src/formats/mlx/adapter.ts";
import type { LoraConfig } from "../../../src/formats/peft/config.ts";
import type { BaseModel } from "../../../src/models/base.ts";
import { openBase } from "../../../src/models/base-model.ts";
import { combineFolders } from "../../../src/peft/combine/folders.ts";
import { openAdapter } from "../../../src/peft/files/adapter.ts";
import { type AdapterFormat, type ConvertOptions, convertAdapter } from "../../../src/peft/files/convert.ts";
import type { Lora } from "../../../src/peft/methods/lora.ts";
import { unflatten } from "../../../src/peft/parameters.ts";
import { type FloatTensor, floats } from "../../../src/tensor/tensor.ts";
import { errorOf } from "../../error-of.ts";
import { readTensors } from "../../models/harness.ts";
import { fixturePath, makeAdapter } from "../adapters.ts";

let cacheFolder: string;
let folder: string;
beforeAll(async () => {
  cacheFolder = await mkdtemp(join(tmpdir(), "lowrank-test-"));
});
afterAll(() => rm(cacheFolder, { recursive: true }));
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-test-"));
});
afterEach(() => rm(folder, { recursive: true }));

const modelPath = (name: string): string => fixturePath(`models/${name}`);
const peftPath = (name: string): string => join(modelPath(name), "adapter");
const baseOf = (name: string): Promise<BaseModel> =>
  openBase(modelPath(name), { cacheFolder, offline: true });

function convert(adapter: string, to: AdapterFormat, model: string, options: Partial<ConvertOptions> = {}) {
  const output = join(folder, to === "gguf" ? "out.gguf" : `out-${to}`);
  return convertAdapter({
    adapter,
    to,
    model: modelPath(model),
    output,
    cacheFolder,
    offline: true,
    ...options,
  });
}

/** s·B·A of every module. */
async function updatesOf(adapter: string, base: BaseModel): Promise<Map<string, FloatTensor>> {
  const { methods, theta } = await openAdapter(adapter, base);
  const [lora] = methods as unknown as [Lora];
  const values = unflatten(theta, lora.trainables);
  return new Map(
    lora.plan.modules.map(({ path, scaling }) => {
      const [a, b] = ["loraA", "loraB"].map((x) => values.get(`${path}.${x}`)) as [FloatTensor, FloatTensor];
      return [path, product(b, a, scaling)];
    }),
  );
}

function product(b: FloatTensor, a: FloatTensor, scaling: number): FloatTensor {
  const [out, rank] = b.shape as [number, number];
  const size = a.shape[1] as number;
  const data = Float32Array.from({ length: out * size }, (_, at) => {
    const [i, j] = [Math.floor(at / size), at % size];
    let sum = 0;
    for (let k = 0; k < rank; k++) sum += (b.data[i * rank + k] as number) * (a.data[k * size + j] as number);
    return scaling * sum;
  });
  return floats(data, [out, size]);
}

/** Largest difference, as a share of the largest value. */
function expectEqual(
  got: ReadonlyMap<string, FloatTensor>,
  wanted: ReadonlyMap<string, FloatTensor>,
  tolerance: number,
) {
  expect([...got.keys()].sort()).toEqual([...wanted.keys()].sort());
  for (const [path, { data, shape }] of wanted) {
    const other = got.get(path) as FloatTensor;
    expect(other.shape).toEqual(shape);
    const largest = data.reduce((max, x) => Math.max(max, Math.abs(x)), 0);
    const difference = data.reduce((max, x, i) => Math.max(max, Math.abs(x - (other.data[i] as number))), 0);
    expect(difference).toBeLessThanOrEqual(tolerance * largest);
  }
}

// Folding rounds each element of B, and the file's alpha, to float32.
const FOLDED = 1e-6;

describe("reading what others wrote", () => {
  test.each([
    ["llama", "mlx-llama"],
    ["gpt2", "mlx-gpt2"],
    ["llama", "gguf-llama.gguf"],
    ["qwen2", "gguf-qwen2.gguf"],
    ["gpt2", "gguf-gpt2.gguf"],
  ])("%s: %s is the PEFT adapter that it was made of", async (model, file) => {
    const base = await baseOf(model);
    const [theirs, peft] = [
      await openAdapter(fixturePath(`interchange/${file}`), base),
      await openAdapter(peftPath(model), base),
    ];
    expect(theirs.theta).toEqual(peft.theta);
    const plans = [theirs, peft].map((a) => (a.methods[0] as Lora).plan.modules);
    expect(plans[0]).toEqual(plans[1]);
    expect(theirs.config).toMatchObject({ peft_type: "LORA", r: 4, lora_alpha: 8, rank_pattern: {} });
  });

  test("mlx-lm: the last layers only, and what it would leave alone is an error", async () => {
    const path = join(folder, "mlx");
    await cp(fixturePath("interchange/mlx-llama"), path, { recursive: true });
    const config = JSON.parse(await readFile(join(path, "adapter_config.json"), "utf8"));
    const write = (changes: object): Promise<void> =>
      writeFile(join(path, "adapter_config.json"), JSON.stringify({ ...config, ...changes }));
    const base = await baseOf("llama");
    await write({ num_layers: 1 });
    const error = (await errorOf(openAdapter(path, base))) as InputError;
    expect(error.count).toBe(14);
    expect(error.message).toContain(
      "model.layers.0.mlp.down_proj.lora_a: is of layer 0, which mlx-lm leaves alone: num_layers names the layers from 1 on",
    );
    for (const num_layers of [-1, 0, 16]) {
      await write({ num_layers });
      expect((await readMlxAdapter(path, base.config)).factors).toHaveLength(14);
    }
    await write({ fine_tune_type: "dora" });
    expect((await errorOf(openAdapter(path, base))).message).toMatch(/fine_tune_type "dora" cannot be read/);
    await write({ lora_parameters: { rank: 4 } });
    expect((await errorOf(openAdapter(path, base))).message).toMatch(
      /lora_parameters\.scale: .*expected number/,
    );
  });

  test("for another model: every tensor in one error", async () => {
    const gpt2 = await baseOf("gpt2");
    const mlx = (await errorOf(openAdapter(fixturePath("interchange/mlx-llama"), gpt2))) as InputError;
    expect(mlx.count).toBe(28);
    expect(mlx.message).toContain("is not a LoRA factor of a gpt2 model");
    const gguf = await errorOf(openAdapter(fixturePath("interchange/gguf-llama.gguf"), gpt2));
    expect(gguf.message).toBe(
      `${fixturePath("interchange/gguf-llama.gguf")} is not a LoRA adapter for a gpt2 model\n` +
        '  general.architecture: expected "gpt2", got "llama"',
    );
    const other = await errorOf(
      openAdapter(fixturePath("interchange/gguf-llama.gguf"), await baseOf("llama3")),
    );
    expect(other.message).toContain("expected shape [64,4] for this model, got [32,4]");
    const model = await errorOf(openAdapter(fixturePath("formats/llama.gguf"), await baseOf("llama")));
    expect(model.message).toContain('general.type: expected "adapter", got');
  });
});

const CONFIGS: readonly (readonly [string, string, Partial<LoraConfig>])[] = [
  ["plain", "llama", {}],
  ["plain, no permutation", "qwen2", {}],
  ["Conv1D", "gpt2", {}],
  ["rsLoRA", "llama3", { rsLora: true }],
  ["alpha patterns", "llama", { alphaPattern: { q_proj: 1, "layers.1.mlp.up_proj": 30 } }],
  ["rank patterns", "qwen3", { rankPattern: { v_proj: 2, "layers.0.self_attn.k_proj": 5 } }],
  [
    "all of it, some layers",
    "llama-sharded",
    { rsLora: true, rankPattern: { v_proj: 1 }, alphaPattern: { up_proj: 9 }, layersToTransform: [1, 2] },
  ],
  ["an alpha of zero on some", "llama", { alphaPattern: { q_proj: 0 } }],
];

describe.each(CONFIGS)("%s (%s)", (_what, model, config) => {
  test.each(["mlx", "gguf"] as const)("to %s and back the update is the same", async (to) => {
    const base = await baseOf(model);
    const adapter = await makeAdapter(base, join(folder, "adapter"), config);
    const wanted = await updatesOf(adapter, base);
    const result = await convert(adapter, to, model);
    expect(result.modules).toBe(wanted.size);
    // The fixtures have a chat template of their own.
    expect(result.warnings).toEqual(
      to === "gguf" ? [expect.stringMatching(/Modelfile has no TEMPLATE/)] : [],
    );
    if (to === "gguf") {
      const modelfile = await readFile(join(dirname(result.output), "Modelfile"), "utf8");
      expect(modelfile).toMatch(/^FROM \/.*\nADAPTER \.\/.*\.gguf\n/);
    }
    expectEqual(await updatesOf(result.output, base), wanted, FOLDED);
    const back = await convert(result.output, "peft", model);
    expectEqual(await updatesOf(back.output, base), wanted, FOLDED);
  });
});

test("a GGUF adapter is what llama.cpp takes for s·B·A: alpha/rank, with Q and K in its order of rows", async () => {
  const base = await baseOf("llama");
  const adapter = await makeAdapter(base, join(folder, "adapter"), {
    rsLora: true,
    rankPattern: { k_proj: 2 },
    alphaPattern: { v_proj: 5 },
  });
  const { output } = await convert(adapter, "gguf", "llama");
  const gguf = await openGguf(output);
  const alpha = gguf.values.get("adapter.lora.alpha") as number;
  const read = async (weight: string): Promise<FloatTensor> => {
    const [a, b] = [await gguf.read(`${weight}.lora_a`), await gguf.read(`${weight}.lora_b`)];
    return product(b, a, alpha / (b.shape[1] as number));
  };
  const wanted = await updatesOf(adapter, base);
  const heads = { q: 4, k: 2, v: null } as const;
  for (const [part, count] of Object.entries(heads)) {
    const got = await read(`blk.1.attn_${part}.weight`);
    const plain = wanted.get(`layers.1.attention.${part}`) as FloatTensor;
    expectEqual(
      new Map([["w", got]]),
      new Map([["w", count === null ? plain : permuted(plain, count)]]),
      FOLDED,
    );
  }
  await gguf.close();
});

/** llama.cpp's converter: reshape(heads, 2, rows / heads / 2, columns).swapaxes(1, 2). */
function permuted({ data, shape }: FloatTensor, heads: number): FloatTensor {
  const [rows, columns] = shape as [number, number];
  const half = rows / heads / 2;
  const out: number[] = [];
  for (let h = 0; h < heads; h++)
    for (let i = 0; i < half; i++)
      for (let side = 0; side < 2; side++) {
        const row = h * 2 * half + side * half + i;
        out.push(...data.subarray(row * columns, (row + 1) * columns));
      }
  return floats(Float32Array.from(out), shape);
}

test("a plain adapter goes through every format bit by bit", async () => {
  const base = await baseOf("llama");
  const wanted = (await openAdapter(peftPath("llama"), base)).theta;
  let adapter = peftPath("llama");
  for (const to of ["mlx", "gguf", "peft"] as const) adapter = (await convert(adapter, to, "llama")).output;
  const theirs = await readTensors(join(peftPath("llama"), "adapter_model.safetensors"));
  expect(await readTensors(join(adapter, "adapter_model.safetensors"))).toEqual(theirs);
  expect((await openAdapter(adapter, base)).theta).toEqual(wanted);
});

test("the keys of a GGUF adapter, and of mlx-lm's configuration", async () => {
  const options = { output: join(folder, "a.gguf") };
  await convert(peftPath("llama"), "gguf", "llama", options);
  const gguf = await openGguf(options.output);
  expect(Object.fromEntries(gguf.values)).toEqual({
    "general.architecture": "llama",
    "general.type": "adapter",
    "general.file_type": 0,
    "general.base_model.count": 1,
    "general.base_model.0.name": "llama",
    "adapter.type": "lora",
    "adapter.lora.alpha": 8,
  });
  expect(gguf.entries.get("blk.0.ffn_down.weight.lora_a")).toMatchObject({ shape: [4, 64], type: "F32" });
  expect(gguf.entries.get("blk.0.ffn_down.weight.lora_b")).toMatchObject({ shape: [32, 4] });
  await gguf.close();
  const { output } = await convert(peftPath("llama"), "mlx", "llama");
  expect(JSON.parse(await readFile(join(output, "adapter_config.json"), "utf8"))).toMatchObject({
    fine_tune_type: "lora",
    lora_parameters: { rank: 4, scale: 2, dropout: 0 },
    num_layers: 2,
  });
  const [ours, theirs] = [
    await readTensors(join(output, "adapters.safetensors")),
    await readTensors(fixturePath("interchange/mlx-llama/adapters.safetensors")),
  ];
  expect(ours).toEqual(theirs);
});

describe("refused", () => {
  test("other methods, by name", async () => {
    const dora = await makeAdapter(await baseOf("llama"), join(folder, "dora"), { dora: true });
    for (const to of ["peft", "mlx", "gguf"] as const) {
      const error = await errorOf(convert(dora, to, "llama"));
      expect(error).toBeInstanceOf(UnsupportedError);
      expect(error.message).toMatch(/^only plain LoRA adapters can be converted, this one is dora: /);
    }
    expect(await readdir(folder)).toEqual(["dora"]);
  });

  test("what no other format has a place for", async () => {
    const saved = await makeAdapter(await baseOf("llama3"), join(folder, "saved"), {
      modulesToSave: ["lm_head"],
    });
    const error = await errorOf(convert(saved, "gguf", "llama3"));
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error.message).toMatch(/also trains head\.weight, for which llama\.cpp's format has no place/);
    expect((await convert(saved, "peft", "llama3")).modules).toBe(14);
    const embedding = await makeAdapter(await baseOf("llama"), join(folder, "embedding"), {
      targetModules: ["embed_tokens", "q_proj"],
    });
    for (const to of ["mlx", "gguf"] as const)
      expect((await errorOf(convert(embedding, to, "llama"))).message).toMatch(
        /LoRA on embed cannot be converted/,
      );
    expect(await readdir(folder)).toEqual(["embedding", "out-peft", "saved"]);
  });

  test("an output that is there already, before anything is read", async () => {
    await mkdir(join(folder, "out-mlx"));
    await writeFile(join(folder, "out-mlx", "x"), "mine");
    expect(await errorOf(convert("./nothing", "mlx", "llama"))).toBeInstanceOf(InputError);
    await writeFile(join(folder, "out.gguf"), "mine");
    expect((await errorOf(convert("./nothing", "gguf", "llama"))).message).toMatch(/is there already/);
    const named = convert("./nothing", "gguf", "llama", { output: join(folder, "out.bin") });
    expect((await errorOf(named)).message).toMatch(/expected a file that ends in \.gguf/);
    const unknown = convert("./nothing", "toString" as AdapterFormat, "llama");
    expect((await errorOf(unknown)).message).toBe(
      'unknown adapter format "toString"; known: peft, mlx, gguf',
    );
  });

  test("an adapter that names no base, where none is given", async () => {
    const output = join(folder, "out");
    const options = { to: "peft", output, cacheFolder, offline: true } as const;
    const adapter = fixturePath("interchange/gguf-llama.gguf");
    expect((await errorOf(convertAdapter({ ...options, adapter }))).message).toMatch(/names no base model/);
  });
});

test("LoRA on an embedding of its own: llama.cpp's A is the other way round", async () => {
  const base = await baseOf("llama3");
  const adapter = await makeAdapter(base, join(folder, "adapter"), {
    targetModules: ["embed_tokens", "lm_head"],
  });
  const { output } = await convert(adapter, "gguf", "llama3");
  const gguf = await openGguf(output);
  expect(gguf.entries.get("token_embd.weight.lora_a")?.shape).toEqual([128, 3]);
  expect(gguf.entries.get("output.weight.lora_a")?.shape).toEqual([3, 32]);
  await gguf.close();
  const wanted = await updatesOf(adapter, base);
  expectEqual(await updatesOf(output, base), wanted, 0);
  const mlx = await convert(adapter, "mlx", "llama3");
  expectEqual(await updatesOf(mlx.output, base), wanted, 0);
});

test("the factor alone counts where a GGUF adapter has alpha 0", async () => {
  const base = await baseOf("llama");
  const bytes = await readFile(fixturePath("interchange/gguf-llama.gguf"));
  const at = bytes.indexOf("adapter.lora.alpha") + "adapter.lora.alpha".length + 4;
  expect(bytes.readFloatLE(at)).toBe(8);
  bytes.writeFloatLE(0, at);
  await writeFile(join(folder, "zero.gguf"), bytes);
  const { factors } = await readGgufAdapter(join(folder, "zero.gguf"), base.config);
  expect(new Set(factors.map((f) => f.scaling))).toEqual(new Set([1]));
});

test("adapters of three formats are combined into one", async () => {
  const base = await baseOf("llama");
  const parts = { [peftPath("llama")]: 0.5, mlx: 0.75, gguf: -0.25 };
  const at: Record<string, string> = {
    mlx: fixturePath("interchange/mlx-llama"),
    gguf: fixturePath("interchange/gguf-llama.gguf"),
  };
  const adapters = Object.fromEntries(Object.entries(parts).map(([name, f]) => [at[name] ?? name, f]));
  const output = join(folder, "combined");
  const access = { cacheFolder, offline: true };
  const nameless = await errorOf(combineFolders({ [at.gguf as string]: 1 }, output, { kind: "cat" }, access));
  expect(nameless.message).toContain("names no base model: give the one that it is for");
  const model = modelPath("llama");
  const { rank } = await combineFolders(adapters, output, { kind: "cat" }, { ...access, model });
  expect(rank).toBe(12);
  // The same adapter three times: half of it, three quarters, less a quarter. Rounding of two sums of float32 products.
  const [got, want] = [await updatesOf(output, base), await updatesOf(peftPath("llama"), base)];
  expect([...got.keys()].sort()).toEqual([...want.keys()].sort());
  for (const [path, { data }] of want)
    for (const [i, x] of data.entries())
      expect(Math.abs((got.get(path)?.data[i] as number) - x)).toBeLessThan(1e-5);
});
