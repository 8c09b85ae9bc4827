import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { InputError } from "../../../src/errors.ts";
import { openGguf } from "../../../src/formats/gguf/open.ts";
import { f32, type GgufTyped, text } from "../../../src/formats/gguf/values.ts";
import { type GgufInput, writeGguf } from "../../../src/formats/gguf/write.ts";
import { writeSafetensors } from "../../../src/formats/safetensors/write.ts";
import { loadModel } from "../../../src/generate/model.ts";
import type { BaseModel } from "../../../src/models/base.ts";
import { openBase } from "../../../src/models/base-model.ts";
import { openAdapter } from "../../../src/peft/files/adapter.ts";
import { type FloatTensor, floats } from "../../../src/tensor/tensor.ts";
import { startHub } from "../../hub/server.ts";
import { readTensors } from "../../models/harness.ts";
import { fixturePath } from "../adapters.ts";

let cacheFolder: string;
let base: BaseModel;
beforeAll(async () => {
  cacheFolder = await mkdtemp(join(tmpdir(), "lowrank-test-"));
  base = await openBase(fixturePath("models/llama"), { cacheFolder, offline: true });
});
afterAll(() => rm(cacheFolder, { recursive: true }));

type Tensors = Map<string, FloatTensor>;

/** Renames tensors, each to a key that means nothing. */
function renamed(tensors: Tensors, names: Readonly<Record<string, string>>): Tensors {
  const entries = [...tensors].map(([key, tensor]) => [names[key] ?? key, tensor] as const);
  expect(Object.keys(names).every((key) => tensors.has(key))).toBe(true);
  return new Map(entries);
}

async function rewriteSafetensors(path: string, names: Readonly<Record<string, string>>): Promise<void> {
  const tensors = renamed((await readTensors(path)) as Tensors, names);
  await rm(path);
  await writeSafetensors(
    path,
    [...tensors].map(([name, { shape, data }]) => ({ name, shape, data })),
  );
}

async function copy(fixture: string, name: string): Promise<string> {
  const path = join(cacheFolder, name);
  await cp(fixturePath(fixture), path, { recursive: true });
  return path;
}

async function problemsOf(adapter: string): Promise<string[]> {
  const error = await openAdapter(adapter, base, { offline: true }).then(
    () => null,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(InputError);
  return (error as InputError).problems.map((p) => `${p.where}: ${p.message}`);
}

test("embeddings that grew are told with their rows and the model's", async () => {
  const folder = await copy("models/llama/adapter", "grown");
  const path = join(folder, "adapter_model.safetensors");
  const { vocabSize, hiddenSize } = base.config;
  const tensors = new Map((await readTensors(path)) as Tensors);
  const grown = floats(new Float32Array((vocabSize + 3) * hiddenSize), [vocabSize + 3, hiddenSize]);
  for (const name of ["lm_head", "model.embed_tokens"]) tensors.set(`base_model.model.${name}.weight`, grown);
  await rm(path);
  await writeSafetensors(
    path,
    [...tensors].map(([name, { shape, data }]) => ({ name, shape, data })),
  );
  const why = `has ${vocabSize + 3} rows, and the model ${vocabSize}: tokens were added in training, which is not supported`;
  expect(await problemsOf(folder)).toEqual([
    `lm_head (savedWeight): ${why}`,
    `model.embed_tokens (savedWeight): ${why}`,
  ]);
});

test("target_modules null means PEFT's modules for the architecture, and that is said", async () => {
  const folder = await copy("models/llama/adapter", "untargeted");
  const path = join(folder, "adapter_config.json");
  const config = JSON.parse(await readFile(path, "utf8"));
  const kept = (await readTensors(join(folder, "adapter_model.safetensors"))) as Tensors;
  const usual = new Map([...kept].filter(([name]) => /\.(q_proj|v_proj)\.lora_[AB]\./.test(name)));
  expect(usual.size).toBeGreaterThan(0);
  await rm(join(folder, "adapter_model.safetensors"));
  await writeSafetensors(
    join(folder, "adapter_model.safetensors"),
    [...usual].map(([name, { shape, data }]) => ({ name, shape, data })),
  );
  const bare = { peft_type: "LORA", r: config.r, lora_alpha: config.lora_alpha, target_modules: null };
  await writeFile(path, JSON.stringify({ ...bare, base_model_name_or_path: null }));
  const opened = await openAdapter(folder, base, { offline: true });
  expect(opened.warnings[0]).toContain(
    "target_modules is not given: q_proj, v_proj, as PEFT has it for llama",
  );
  expect(opened.theta.length).toBe([...usual.values()].reduce((n, t) => n + t.data.length, 0));
});

describe("keys that mean nothing are one error that lists them all", () => {
  test("PEFT: wrong prefixes, suffixes and modules, and what is missing for it", async () => {
    const folder = await copy("models/llama/adapter", "peft");
    const q = "base_model.model.model.layers.0.self_attn.q_proj";
    const up = "base_model.model.model.layers.1.mlp.up_proj";
    await rewriteSafetensors(join(folder, "adapter_model.safetensors"), {
      [`${q}.lora_A.weight`]: "model.layers.0.self_attn.q_proj.lora_A.weight",
      [`${q}.lora_B.weight`]: `${q}.lora_C.weight`,
      [`${up}.lora_A.weight`]: "base_model.model.model.layers.1.mlp.up_prj.lora_A.weight",
      [`${up}.lora_B.weight`]: "base_model.model.model.layers.1.mlp.up_prj.lora_B.weight",
    });
    expect((await problemsOf(folder)).sort()).toEqual([
      `${q}.lora_C.weight: not a LoRA factor, bias or saved module`,
      "model.layers.0.self_attn.q_proj (loraA): is not in the adapter",
      "model.layers.0.self_attn.q_proj (loraB): is not in the adapter",
      'model.layers.0.self_attn.q_proj.lora_A.weight: does not begin with "base_model.model."',
      "model.layers.1.mlp.up_prj (loraA): has no place in this model",
      "model.layers.1.mlp.up_prj (loraB): has no place in this model",
      "model.layers.1.mlp.up_proj (loraA): is not in the adapter",
      "model.layers.1.mlp.up_proj (loraB): is not in the adapter",
    ]);
  });

  test("mlx-lm", async () => {
    const folder = await copy("interchange/mlx-llama", "mlx");
    await rewriteSafetensors(join(folder, "adapters.safetensors"), {
      "model.layers.0.self_attn.q_proj.lora_a": "model.layers.0.self_attn.q_prj.lora_a",
      "model.layers.1.mlp.up_proj.lora_a": "model.layers.1.mlp.up_proj.lora_A",
      "model.layers.1.mlp.down_proj.lora_b": "layers.1.mlp.down_proj.b",
    });
    expect((await problemsOf(folder)).sort()).toEqual([
      "layers.1.mlp.down_proj.b: is not a LoRA factor of a llama model",
      "model.layers.0.self_attn.q_prj.lora_a: is not a LoRA factor of a llama model",
      "model.layers.0.self_attn.q_proj.lora_b: has no lora_a beside it",
      "model.layers.1.mlp.down_proj.lora_a: has no lora_b beside it",
      "model.layers.1.mlp.up_proj.lora_A: is not a LoRA factor of a llama model",
      "model.layers.1.mlp.up_proj.lora_b: has no lora_a beside it",
    ]);
  });

  test("GGUF", async () => {
    const gguf = await openGguf(fixturePath("interchange/gguf-llama.gguf"));
    const tensors: Tensors = new Map();
    for (const name of gguf.entries.keys()) tensors.set(name, await gguf.read(name));
    await gguf.close();
    const names = {
      "blk.0.attn_q.weight.lora_a": "blk.0.attn_x.weight.lora_a",
      "blk.1.ffn_up.weight.lora_b": "blk.1.ffn_up.lora_b",
    };
    const keys = new Map<string, GgufTyped>([
      ["general.architecture", text("llama")],
      ["general.type", text("adapter")],
      ["adapter.type", text("lora")],
      ["adapter.lora.alpha", f32(8)],
    ]);
    const inputs = [...renamed(tensors, names)].map(
      ([name, { shape, data }]): GgufInput => ({ name, shape, data, type: "F32" }),
    );
    const file = join(cacheFolder, "bad.gguf");
    await writeGguf(file, keys, inputs);
    expect((await problemsOf(file)).sort()).toEqual([
      "blk.0.attn_q.weight.lora_b: has no lora_a beside it",
      "blk.0.attn_x.weight.lora_a: is not a LoRA factor of a llama model",
      "blk.1.ffn_up.lora_b: is not a LoRA factor of a llama model",
      "blk.1.ffn_up.weight.lora_a: has no lora_b beside it",
    ]);
  });
});

test("an mlx-lm adapter and a GGUF adapter on the Hub are used by their ids", async () => {
  const hub = await startHub();
  try {
    vi.stubEnv("HF_ENDPOINT", hub.url);
    vi.stubEnv("HF_HUB_OFFLINE", "");
    const read = async (name: string) => ({ content: await readFile(fixturePath(`interchange/${name}`)) });
    hub.repos.set("model:org/mlx", {
      "adapter_config.json": await read("mlx-llama/adapter_config.json"),
      "adapters.safetensors": { ...(await read("mlx-llama/adapters.safetensors")), lfs: true },
    });
    hub.repos.set("model:org/gguf", { "lora.gguf": { ...(await read("gguf-llama.gguf")), lfs: true } });
    const model = fixturePath("models/llama");
    const logits = async (adapter: string): Promise<number[]> => {
      const loaded = await loadModel({ model, adapter, cacheFolder });
      const rows = await loaded.logits([5, 60, 7, 100]);
      await loaded.close();
      return rows.flatMap((row) => Array.from(row));
    };
    const wanted = await logits(join(model, "adapter"));
    expect(await logits("org/mlx")).toEqual(wanted);
    expect(await logits("org/gguf/lora.gguf")).toEqual(wanted);
  } finally {
    vi.unstubAllEnvs();
    await hub.close();
  }
});
