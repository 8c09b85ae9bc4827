import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { InputError, NotFoundError } from "../../../src/errors.ts";
import { type AdapterContent, readAdapter, writeAdapter } from "../../../src/formats/peft/adapter.ts";
import { DEFAULT_LORA_CONFIG } from "../../../src/formats/peft/config.ts";
import type { ModuleTensors } from "../../../src/formats/peft/keys.ts";
import { rankOf } from "../../../src/formats/peft/targets.ts";
import { openSafetensors } from "../../../src/formats/safetensors/read.ts";
import { writeSafetensors } from "../../../src/formats/safetensors/write.ts";
import { floats } from "../../../src/tensor/tensor.ts";
import { failure } from "../fixtures.ts";

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../fixtures/peft/${name}`, import.meta.url));
const READABLE = ["qv", "patterns", "bias-all", "saved-head", "embeddings", "gpt2", "all-linear"];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-peft-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function keysOf(dir: string): Promise<[string, readonly number[]][]> {
  const file = await openSafetensors(join(dir, "adapter_model.safetensors"));
  const keys = [...file.entries.values()].map((e): [string, readonly number[]] => [e.name, e.shape]);
  await file.close();
  return keys.sort(([a], [b]) => (a < b ? -1 : 1));
}

/** A copy of a fixture with its weights replaced. */
async function altered(
  name: string,
  change: (tensors: Map<string, { shape: number[]; data: Float32Array }>) => void,
): Promise<string> {
  const dir = await mkdtemp(join(folder, "altered-"));
  await cp(fixture(name), dir, { recursive: true });
  const path = join(dir, "adapter_model.safetensors");
  const file = await openSafetensors(path);
  const tensors = new Map<string, { shape: number[]; data: Float32Array }>();
  for (const key of file.entries.keys()) {
    const { shape, data } = await file.read(key);
    tensors.set(key, { shape: [...shape], data });
  }
  await file.close();
  change(tensors);
  await writeSafetensors(
    path,
    [...tensors].map(([key, t]) => ({ name: key, ...t })),
  );
  return dir;
}

const Q0 = "base_model.model.model.layers.0.self_attn.q_proj";

describe("readAdapter", () => {
  it("finds modules, factors and sizes", async () => {
    const adapter = await readAdapter(fixture("qv"));
    expect([...adapter.tensors.keys()].sort()).toEqual([
      "model.layers.0.self_attn.q_proj",
      "model.layers.0.self_attn.v_proj",
      "model.layers.1.self_attn.q_proj",
      "model.layers.1.self_attn.v_proj",
    ]);
    const v = adapter.tensors.get("model.layers.0.self_attn.v_proj");
    expect([v?.loraA?.shape, v?.loraB?.shape]).toEqual([
      [4, 16],
      [8, 4],
    ]);
    expect(adapter.warnings).toEqual([]);
    expect(adapter.sizeBytes).toBe(2808);
    expect(adapter.sha256).toMatch(/^[0-9a-f]{64}$/);
  });

  it("takes ranks from patterns and biases from under base_layer", async () => {
    const { config, tensors } = await readAdapter(fixture("patterns"));
    const v1 = tensors.get("model.layers.1.self_attn.v_proj");
    expect(rankOf(config, "model.layers.1.self_attn.v_proj")).toBe(3);
    expect(v1?.loraA?.shape).toEqual([3, 16]);
    expect(v1?.bias?.shape).toEqual([8]);
  });

  it("tells trained biases, saved modules and embeddings apart", async () => {
    const all = await readAdapter(fixture("gpt2"));
    expect(all.tensors.get("transformer.ln_f")).toEqual({ bias: expect.objectContaining({ shape: [8] }) });
    expect(all.config.fanInFanOut).toBe(true);
    expect(all.tensors.get("transformer.h.0.attn.c_attn")?.loraB?.shape).toEqual([24, 4]);
    const head = (await readAdapter(fixture("saved-head"))).tensors.get("lm_head");
    expect(Object.keys(head ?? {})).toEqual(["savedWeight"]);
    const embed = (await readAdapter(fixture("embeddings"))).tensors.get("model.embed_tokens");
    expect([embed?.loraEmbeddingA?.shape, embed?.loraEmbeddingB?.shape, embed?.baseWeight?.shape]).toEqual([
      [2, 32],
      [16, 2],
      [32, 16],
    ]);
  });

  it("reports every tensor that does not fit in one error", async () => {
    const dir = await altered("qv", (tensors) => {
      tensors.delete(`${Q0}.lora_B.weight`);
      const a = tensors.get(`${Q0.replace("0", "1")}.lora_A.weight`);
      if (a) a.data[5] = Number.NaN;
      tensors.set(`${Q0.replace("q_", "v_")}.lora_A.weight`, { shape: [3, 16], data: new Float32Array(48) });
    });
    const error = (await failure(readAdapter(dir))) as InputError;
    expect(error).toBeInstanceOf(InputError);
    expect(error.problems.map((p) => `${p.where}: ${p.message}`).sort()).toEqual([
      "model.layers.0.self_attn.q_proj: has lora_A without lora_B",
      "model.layers.0.self_attn.v_proj.lora_A: expected [4, in], got [3,16]",
      "model.layers.1.self_attn.q_proj.loraA: element 5 is NaN, expected finite values",
    ]);
  });

  it("reports all unmatched keys in one error", async () => {
    const dir = await altered("qv", (tensors) => {
      tensors.set("model.layers.0.q.lora_A.weight", { shape: [1], data: new Float32Array(1) });
      tensors.set(`${Q0}.lora_C.weight`, { shape: [1], data: new Float32Array(1) });
      tensors.set(`${Q0}.bias`, { shape: [1], data: new Float32Array(1) });
    });
    const error = (await failure(readAdapter(dir))) as InputError;
    expect(error.problems.map((p) => p.where).sort()).toEqual([
      `${Q0}.bias`,
      `${Q0}.lora_C.weight`,
      "model.layers.0.q.lora_A.weight",
    ]);
    expect(error.message).toContain('does not begin with "base_model.model."');
  });

  it("reads DoRA's magnitudes, and refuses them where the configuration has none", async () => {
    const { config, tensors } = await readAdapter(fixture("dora"));
    expect(config.dora).toBe(true);
    expect([...tensors.values()].map((t) => t.magnitude?.shape)).toEqual([[16], [16]]);
    const dir = await altered("qv", (tensors) => {
      tensors.set(`${Q0}.lora_magnitude_vector`, { shape: [16], data: new Float32Array(16) });
    });
    expect((await failure(readAdapter(dir))).message).toMatch(
      /lora_magnitude_vector: is there, but the configuration does not say use_dora/,
    );
    const without = await altered("dora", (tensors) => {
      tensors.delete(`${Q0}.lora_magnitude_vector`);
    });
    expect((await failure(readAdapter(without))).message).toMatch(
      /q_proj.lora_magnitude_vector: is missing, and the adapter is DoRA/,
    );
  });

  it("says what is missing, and never opens pickles", async () => {
    expect((await failure(readAdapter(join(folder, "none")))).message).toMatch(/no such adapter folder/);
    await writeFile(join(folder, "garbage.gguf"), "x");
    expect((await failure(readAdapter(join(folder, "garbage.gguf")))).message).toMatch(
      /garbage.gguf is neither an adapter's folder nor a GGUF file/,
    );
    const dir = await mkdtemp(join(folder, "bin-"));
    await cp(join(fixture("qv"), "adapter_config.json"), join(dir, "adapter_config.json"));
    expect((await failure(readAdapter(dir))).message).toMatch(/has no adapter_model.safetensors/);
    await writeFile(join(dir, "adapter_model.bin"), "x");
    expect((await failure(readAdapter(dir))).message).toMatch(/a pickle, which can run code/);
    const mlx = await mkdtemp(join(folder, "mlx-"));
    await writeFile(join(mlx, "adapter_config.json"), '{"lora_parameters": {"rank": 8}}');
    expect((await failure(readAdapter(mlx))).message).toMatch(/is an mlx-lm adapter/);
    await writeFile(join(mlx, "adapter_config.json"), '{"r": NaN}');
    expect((await failure(readAdapter(mlx))).message).toMatch(/is not JSON/);
  });

  it("lists named adapters when the folder is not one itself", async () => {
    const dir = await mkdtemp(join(folder, "named-"));
    for (const name of ["b", "a"]) await cp(fixture("qv"), join(dir, name), { recursive: true });
    await mkdir(join(dir, "other"));
    const error = await failure(readAdapter(dir));
    expect(error).toBeInstanceOf(NotFoundError);
    expect(error.message).toMatch(/it holds the named adapters: a, b$/);
    expect((await readAdapter(dir, { name: "a" })).tensors.size).toBe(4);
    expect((await failure(readAdapter(dir, { name: "../a" }))).message).toMatch(/cannot be the name/);
  });
});

describe("writeAdapter", () => {
  it.each(READABLE)("writes %s as PEFT wrote it", async (name) => {
    const original = await readAdapter(fixture(name));
    const path = await writeAdapter(join(folder, "written"), original, { name });
    expect(path).toBe(join(folder, "written", name));
    const copy = await readAdapter(path);
    expect(copy.config).toEqual(original.config);
    expect(new Map([...copy.tensors].sort())).toEqual(new Map([...original.tensors].sort()));
    expect(await keysOf(path)).toEqual(await keysOf(fixture(name)));
    const mine = JSON.parse(await readFile(join(path, "adapter_config.json"), "utf8"));
    expect(original.raw).toMatchObject(mine);
    expect((await readdir(path)).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    const file = await openSafetensors(join(path, "adapter_model.safetensors"));
    expect(file.metadata).toEqual({ format: "pt" });
    await file.close();
  });

  const one = (rank: number): ModuleTensors => ({
    loraA: floats(new Float32Array(rank * 3), [rank, 3]),
    loraB: floats(new Float32Array(2 * rank), [2, rank]),
  });

  it("writes all-linear as the kinds of module, so that layers can be chosen beside it", async () => {
    const content: AdapterContent = {
      config: { ...DEFAULT_LORA_CONFIG, rank: 1, layersToTransform: [0] },
      tensors: new Map([
        ["model.layers.0.self_attn.q_proj", one(1)],
        ["model.layers.0.mlp.up_proj", one(1)],
      ]),
    };
    const { config } = await readAdapter(await writeAdapter(join(folder, "kinds"), content));
    expect(config).toMatchObject({ targetModules: ["q_proj", "up_proj"], layersToTransform: [0] });
  });

  it("keeps ranks where sorting the patterns would change which comes first", async () => {
    const config = {
      ...{ ...DEFAULT_LORA_CONFIG, targetModules: ["q_proj", "k_proj"], rank: 1 },
      rankPattern: { "self_attn.q_proj": 2, ".*proj": 3 },
    };
    const tensors = new Map([
      ["model.layers.0.self_attn.q_proj", one(2)],
      ["model.layers.0.self_attn.k_proj", one(3)],
    ]);
    const read = await readAdapter(await writeAdapter(join(folder, "sorted"), { config, tensors }));
    expect(rankOf(read.config, "model.layers.0.self_attn.q_proj")).toBe(2);
    expect(rankOf(read.config, "model.layers.0.self_attn.k_proj")).toBe(3);
  });

  it("writes nothing that could not be read", async () => {
    const dir = join(folder, "refused");
    const nan = { ...one(1), loraB: floats(Float32Array.of(0, Number.POSITIVE_INFINITY), [2, 1]) };
    const config = { ...DEFAULT_LORA_CONFIG, rank: 1 };
    const write = (tensors: Map<string, ModuleTensors>): Promise<Error> =>
      failure(writeAdapter(dir, { config, tensors }));
    expect((await write(new Map([["q", nan]]))).message).toMatch(/q.loraB: element 1 is Infinity/);
    expect((await write(new Map())).message).toMatch(/no module has LoRA factors/);
    expect((await write(new Map([["q", one(2)]]))).message).toMatch(/expected \[1, in\], got \[2,3\]/);
    expect(await failure(readdir(dir))).toMatchObject({ code: "ENOENT" });
  });
});
