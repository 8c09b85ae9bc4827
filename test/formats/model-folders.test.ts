import { cp, mkdir, readdir, readFile, rename, rm, stat, unlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { FormatError, InputError, NotFoundError, UnsupportedError } from "../../src/errors.ts";
import { writeModelFolder } from "../../src/formats/hf/save.ts";
import type { ModelSource } from "../../src/formats/model.ts";
import { openModel } from "../../src/formats/open-model.ts";
import { openSafetensors } from "../../src/formats/safetensors/read.ts";
import { hashesIn } from "../../src/io/fingerprint.ts";
import { type FloatTensor, floats } from "../../src/tensor/tensor.ts";
import { bitsOf, copyOf, editJson, editWeights, FIXTURES, messageOf, temporaryFolder } from "./fixtures.ts";

async function opened(path: string, name?: string): Promise<ModelSource> {
  const source = await openModel(path, name);
  onTestFinished(() => source.close());
  return source;
}

type Json = Record<string, unknown>;

function pick(json: Json, keys: readonly string[]): Json {
  return Object.fromEntries(keys.map((key) => [key, json[key]]));
}

async function allWeights(source: ModelSource): Promise<Map<string, FloatTensor>> {
  const weights = new Map<string, FloatTensor>();
  for (const weight of source.weights) weights.set(weight.path, await weight.read());
  return weights;
}

describe.each(["llama", "gpt2"])("%s", (model) => {
  test("the GGUF holds the same weights, to the bit and in the same orientation, as the folder", async () => {
    const folder = await opened(join(FIXTURES, model));
    const gguf = await opened(join(FIXTURES, `${model}.gguf`));
    const shapes = ({ weights }: ModelSource) => new Map(weights.map(({ path, shape }) => [path, shape]));
    expect(shapes(gguf)).toEqual(shapes(folder));
    const theirs = await allWeights(gguf);
    for (const [path, { data, shape }] of await allWeights(folder)) {
      expect(theirs.get(path)?.shape).toEqual(shape);
      expect(bitsOf(theirs.get(path)?.data as Float32Array)).toEqual(bitsOf(data));
    }
  });

  test("the GGUF's rebuilt configuration and tokenizer say the same as the folder's", async () => {
    const folder = await opened(join(FIXTURES, model));
    const gguf = await opened(join(FIXTURES, `${model}.gguf`));
    // float32 in the GGUF, decimal in config.json
    expect(gguf.config).toEqual({ ...folder.config, normEpsilon: Math.fround(folder.config.normEpsilon) });
    expect(gguf.eosIds).toEqual(folder.eosIds);
    const special = ({ bosToken, eosToken, unkToken, chatTemplate, addBos }: ModelSource["tokenizer"]) => [
      bosToken,
      eosToken,
      unkToken,
      chatTemplate,
      addBos,
    ];
    expect(special(gguf.tokenizer)).toEqual(special(folder.tokenizer));
    const ours = gguf.tokenizer.tokenizerJson;
    const theirs = folder.tokenizer.tokenizerJson;
    expect(ours.model).toMatchObject(
      pick(theirs.model as Json, ["type", "vocab", "merges", "ignore_merges"]),
    );
    const keys = ["added_tokens", "normalizer", "pre_tokenizer"];
    expect(pick(ours, keys)).toEqual(pick(theirs, keys));
  });

  test.each(["F32", "BF16", "F16"] as const)(
    "written and opened again at %s, weights are those of the source",
    async (dtype) => {
      const source = await opened(join(FIXTURES, `${model}.gguf`));
      const folder = join(await temporaryFolder(), "out");
      await writeModelFolder(folder, source, { dtype });
      const again = await opened(folder);
      expect(again.config).toEqual(source.config);
      expect(again.tokenizer).toMatchObject({ ...source.tokenizer });
      expect(again.eosIds).toEqual(source.eosIds);
      const before = await allWeights(source);
      for (const [path, { data }] of await allWeights(again)) {
        const expected = before.get(path)?.data as Float32Array;
        if (dtype === "F32") expect(bitsOf(data)).toEqual(bitsOf(expected));
        // half a unit in the last place: 2^-11 of the value for F16, 2^-8 for BF16 (8 bits of precision), and 2^-25 where
        // F16 is subnormal
        else
          for (const [i, x] of data.entries()) {
            const y = expected[i] as number;
            const tolerance = Math.abs(y) * (dtype === "F16" ? 2 ** -11 : 2 ** -8) + 2 ** -25;
            expect(Math.abs(x - y)).toBeLessThanOrEqual(tolerance);
          }
      }
    },
  );
});

test("what a folder says of itself", async () => {
  const source = await opened(join(FIXTURES, "llama"), "my-model");
  expect(source).toMatchObject({
    name: "my-model",
    kind: "folder",
    path: join(FIXTURES, "llama"),
    eosIds: [2],
    metadata: { format: "pt" },
  });
  expect(source.weights.find(({ path }) => path === "embed.weight")).toMatchObject({
    name: "model.embed_tokens.weight",
    shape: [300, 16],
    storage: "F32",
    sizeBytes: 19200,
  });
  const gguf = await opened(join(FIXTURES, "llama.gguf"));
  expect(gguf.kind).toBe("gguf");
  expect(gguf.metadata["general.architecture"]).toBe("llama");
  expect(gguf.metadata["tokenizer.ggml.tokens"]).toEqual(expect.arrayContaining(["… 292 more"]));
});

test("the fingerprint follows the content of the weights, and the configuration", async () => {
  const folder = await copyOf("llama");
  const cache = await temporaryFolder();
  const print = async (): Promise<string> => {
    const source = await openModel(folder);
    return source.fingerprint(hashesIn(cache)).finally(source.close);
  };
  const first = await print();
  expect(await print()).toBe(first);
  const shard = join(folder, "model-00001-of-00003.safetensors");
  await utimes(shard, 1, 1);
  expect(await print()).toBe(first);
  const bytes = await readFile(shard);
  bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
  await writeFile(shard, bytes); // of the same length
  await utimes(shard, 1, 1); // and time
  const second = await print();
  expect(second).not.toBe(first);
  await editJson(join(folder, "config.json"), (json) => ({ ...json, rms_norm_eps: 0.1 }));
  expect(await print()).not.toBe(second);
});

test("old GPT-2 checkpoints: no prefix, causal mask as a buffer", async () => {
  const folder = await copyOf("gpt2");
  await cp(join(FIXTURES, "gpt2-bare.safetensors"), join(folder, "model.safetensors"));
  const bare = await allWeights(await opened(folder));
  expect(bare).toEqual(await allWeights(await opened(join(FIXTURES, "gpt2"))));
});

describe("opening what is not a model", () => {
  test("nothing there, a text file, an empty file, weights alone, an adapter", async () => {
    const folder = await temporaryFolder();
    await expect(openModel(join(folder, "none"))).rejects.toThrow(NotFoundError);
    await writeFile(join(folder, "text"), "hello");
    await expect(openModel(join(folder, "text"))).rejects.toThrow(FormatError);
    await writeFile(join(folder, "empty"), "");
    await expect(openModel(join(folder, "empty"))).rejects.toThrow(/is not a model/);
    await expect(openModel(join(FIXTURES, "gpt2/model.safetensors"))).rejects.toThrow(
      /give the folder with its config.json/,
    );
    await expect(openModel(folder)).rejects.toThrow(
      /no config.json, expected a Hugging Face model folder or a .gguf file/,
    );
    await writeFile(join(folder, "adapter_config.json"), "{}");
    await expect(openModel(folder)).rejects.toThrow(/is an adapter, not a model/);
  });

  test("a GGUF is known by its content, not its name", async () => {
    const path = join(await temporaryFolder(), "model.bin");
    await cp(join(FIXTURES, "llama.gguf"), path);
    expect((await opened(path)).kind).toBe("gguf");
  });

  test("pickles are never opened", async () => {
    const folder = await copyOf("gpt2");
    await unlink(join(folder, "model.safetensors"));
    await expect(openModel(folder)).rejects.toThrow(/no weights, expected model.safetensors/);
    await writeFile(join(folder, "pytorch_model.bin"), "PK\u0003\u0004");
    await expect(openModel(folder)).rejects.toThrow(UnsupportedError);
    await expect(openModel(folder)).rejects.toThrow(/pytorch_model.bin is a pickle, which can run code/);
    await expect(openModel(join(folder, "pytorch_model.bin"))).rejects.toThrow(/looks like a pickle/);
  });

  test("a missing or broken tokenizer.json", async () => {
    const folder = await copyOf("gpt2");
    await writeFile(join(folder, "tokenizer.json"), "{");
    await expect(openModel(folder)).rejects.toThrow(/tokenizer.json: is not JSON/);
    await unlink(join(folder, "tokenizer.json"));
    await expect(openModel(folder)).rejects.toThrow(
      /tokenizer.json: no such file; a folder with tokenizer.model/,
    );
  });
});

describe("shards", () => {
  const INDEX = "model.safetensors.index.json";

  test.each([
    "../outside.safetensors",
    "/etc/x.safetensors",
    "a/b.safetensors",
    "a\\b.safetensors",
    "model.bin",
    7,
  ])("a shard called %j is refused before anything is opened", async (name) => {
    const folder = await copyOf("llama");
    await editJson(join(folder, INDEX), (json) => {
      (json.weight_map as Record<string, unknown>)["lm_head.weight"] = name;
    });
    const message = await messageOf(openModel(folder));
    expect(message).toMatch(/^InputError.*names files that are not opened/);
    expect(message).toContain(`lm_head.weight: is said to be in ${JSON.stringify(name)}`);
  });

  test("missing shards, broken shards and misplaced tensors come in one error", async () => {
    const folder = await copyOf("llama");
    await unlink(join(folder, "model-00001-of-00003.safetensors"));
    await writeFile(join(folder, "model-00002-of-00003.safetensors"), "");
    await editJson(join(folder, INDEX), (json) => {
      (json.weight_map as Record<string, string>)["model.extra.weight"] = "model-00003-of-00003.safetensors";
    });
    const message = await messageOf(openModel(folder));
    expect(message).toMatch(/^InputError/);
    expect(message).toMatch(/model-00001-of-00003.safetensors: shard is missing/);
    expect(message).toMatch(/model-00002-of-00003.safetensors: .* is 0 bytes long/);
    expect(message).toMatch(/model.extra.weight: is not in model-00003-of-00003.safetensors/);
  });
});

describe("weights", () => {
  test("tensors that no model of the family has, and those given twice, come in one error", async () => {
    const folder = await copyOf("gpt2");
    await editWeights(folder, (tensors) =>
      tensors.flatMap((tensor) => {
        if (tensor.name === "transformer.wpe.weight") return [tensor, { ...tensor, name: "score.weight" }];
        return tensor.name === "transformer.wte.weight"
          ? [tensor, { ...tensor, name: "wte.weight" }]
          : tensor;
      }),
    );
    await expect(openModel(folder)).rejects.toThrow(InputError);
    expect((await messageOf(openModel(folder))).split("\n").slice(1).sort()).toEqual([
      "  score.weight: is not a weight of a gpt2 model",
      "  wte.weight: is the same weight as transformer.wte.weight",
    ]);
  });

  test("the stored head of a tied model is left out", async () => {
    const folder = await copyOf("gpt2");
    await editWeights(folder, (tensors) => [
      ...tensors,
      { name: "lm_head.weight", shape: [300, 16], data: new Float32Array(4800) },
    ]);
    expect((await opened(folder)).weights.some(({ path }) => path === "head.weight")).toBe(false);
  });

  test("a weight knows its name, and a source the name of a weight that is not there", async () => {
    const path = "layers.1.mlp.up.weight";
    for (const [fixture, name, head] of [
      ["gpt2", "transformer.h.1.mlp.c_fc.weight", "lm_head.weight"],
      ["gpt2.gguf", "blk.1.ffn_up.weight", "output.weight"],
    ] as const) {
      const source = await opened(join(FIXTURES, fixture));
      expect(source.weights.find((w) => w.path === path)?.name).toBe(name);
      expect(source.nameOf(path)).toBe(name);
      expect(source.nameOf("head.weight")).toBe(head);
    }
  });
});

describe("tokenizer files", () => {
  test("chat templates: jinja file first, then one string, then the default of a list", async () => {
    const folder = await copyOf("llama");
    const template = async (): Promise<string | null> => (await opened(folder)).tokenizer.chatTemplate;
    const config = join(folder, "tokenizer_config.json");
    await editJson(config, (json) => ({ ...json, chat_template: "inline" }));
    expect(await template()).toMatch(/im_start/);
    await unlink(join(folder, "chat_template.jinja"));
    expect(await template()).toBe("inline");
    const list = [
      { name: "tools", template: "A" },
      { name: "default", template: "B" },
    ];
    await editJson(config, (json) => ({ ...json, chat_template: list }));
    expect(await template()).toBe("B");
    await editJson(config, (json) => ({ ...json, chat_template: 3 }));
    await expect(openModel(folder)).rejects.toThrow(/chat_template: expected a string or a list, got 3/);
  });

  test("special tokens as objects, or in special_tokens_map.json; BOS by flag or by post-processor", async () => {
    const folder = await copyOf("llama");
    const config = join(folder, "tokenizer_config.json");
    await editJson(config, (json) => ({ ...json, bos_token: { content: "<|im_start|>" }, eos_token: null }));
    await writeFile(join(folder, "special_tokens_map.json"), '{"eos_token":"<|endoftext|>"}');
    const source = await opened(folder);
    expect(source.tokenizer).toMatchObject({
      bosToken: "<|im_start|>",
      eosToken: "<|endoftext|>",
      addBos: false,
    });
    // declared in config.json, the tokenizer's, and the template's end of turn
    expect(source.eosIds).toEqual([0, 2]);
    const single = [
      { SpecialToken: { id: "<|im_start|>", type_id: 0 } },
      { Sequence: { id: "A", type_id: 0 } },
    ];
    const processors = [{ type: "ByteLevel" }, { type: "TemplateProcessing", single }];
    await editJson(join(folder, "tokenizer.json"), (json) => ({
      ...json,
      post_processor: { type: "Sequence", processors },
    }));
    expect((await opened(folder)).tokenizer.addBos).toBe(true);
    await editJson(config, (json) => ({ ...json, add_bos_token: false }));
    expect((await opened(folder)).tokenizer.addBos).toBe(false);
  });
});

describe("writing a model folder", () => {
  test("replaced weights are written in transformers' order, the rest as it was", async () => {
    const source = await opened(join(FIXTURES, "gpt2"));
    const path = "layers.0.attention.qkv.weight";
    const replaced = floats(
      Float32Array.from({ length: 768 }, (_, i) => i),
      [48, 16],
    );
    const folder = join(await temporaryFolder(), "merged");
    await writeModelFolder(folder, source, { override: async (p) => (p === path ? replaced : null) });
    const file = await openSafetensors(join(folder, "model.safetensors"));
    const stored = await file.read("transformer.h.0.attn.c_attn.weight");
    await file.close();
    expect(stored.shape).toEqual([16, 48]);
    expect(stored.data[1]).toBe(16); // [0, 1] of the transpose is [1, 0] of ours
    const before = await allWeights(source);
    for (const [p, { data }] of await allWeights(await opened(folder)))
      expect(data).toEqual(p === path ? replaced.data : before.get(p)?.data);
    expect((await readdir(folder)).sort()).toEqual([
      "chat_template.jinja",
      "config.json",
      "generation_config.json",
      "model.safetensors",
      "special_tokens_map.json",
      "tokenizer.json",
      "tokenizer_config.json",
    ]);
    expect(await readFile(join(folder, "generation_config.json"))).toEqual(
      await readFile(join(FIXTURES, "gpt2/generation_config.json")),
    );
  });

  test("a head for a tied model unties it", async () => {
    const source = await opened(join(FIXTURES, "gpt2"));
    const head = floats(new Float32Array(4800).fill(0.5), [300, 16]);
    const folder = join(await temporaryFolder(), "untied");
    await writeModelFolder(folder, source, {
      override: (path) => (path === "head.weight" ? head : null),
      dtype: "F16",
    });
    const again = await opened(folder);
    expect(again.config.tiedEmbeddings).toBe(false);
    expect(again.hfConfig).toMatchObject({ tie_word_embeddings: false, torch_dtype: "float16" });
    expect(again.hfConfig).not.toHaveProperty("dtype");
    expect((await again.weights.at(-1)?.read())?.data).toEqual(head.data);
  });

  test("a folder with something in it is left alone; an empty one is used", async () => {
    const source = await opened(join(FIXTURES, "llama.gguf"));
    const folder = await temporaryFolder();
    await mkdir(join(folder, "empty"));
    await writeModelFolder(join(folder, "empty"), source);
    expect(await readdir(join(folder, "empty"))).toContain("config.json");
    await expect(writeModelFolder(folder, source)).rejects.toThrow(InputError);
    expect(await readdir(folder)).toEqual(["empty"]);
    await expect(writeModelFolder(join(folder, "empty/config.json"), source)).rejects.toThrow(
      /cannot be written to \(ENOTDIR\)/,
    );
  });

  test("a write that fails leaves nothing behind", async () => {
    const source = await opened(join(FIXTURES, "llama.gguf"));
    const parent = await temporaryFolder();
    const replace = (tensor: FloatTensor) => ({
      override: (path: string) => (path === "final_norm.weight" ? tensor : null),
    });
    const folder = join(parent, "out");
    await expect(writeModelFolder(folder, source, replace(floats(new Float32Array(8), [8])))).rejects.toThrow(
      /final_norm.weight: expected shape \[16\], got \[8\]/,
    );
    const infinite = floats(new Float32Array(16).fill(Number.POSITIVE_INFINITY), [16]);
    await expect(writeModelFolder(folder, source, replace(infinite))).rejects.toThrow(
      /tensor "final_norm.weight" has Infinity at \[0\]/,
    );
    expect(await readdir(parent)).toEqual([]);
  });
});

test("a model whose files are replaced by rename while open keeps its weights", async () => {
  const folder = await copyOf("gpt2");
  const source = await opened(folder);
  const path = join(folder, "model.safetensors");
  await writeFile(`${path}.new`, new Uint8Array((await stat(path)).size));
  await rename(`${path}.new`, path);
  expect(await allWeights(source)).toEqual(await allWeights(await opened(join(FIXTURES, "gpt2"))));
  await rm(path);
});
