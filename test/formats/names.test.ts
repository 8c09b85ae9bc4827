import { describe, expect, test } from "vitest";
import { UnsupportedError } from "../../src/errors.ts";
import { parseHfConfig } from "../../src/formats/hf/config.ts";
import {
  ggufTensorName,
  hfModuleName,
  hfTensorName,
  isIgnoredHfTensor,
  isTransposed,
  pathOfGgufTensor,
  pathOfHfModule,
  pathOfHfTensor,
} from "../../src/formats/names.ts";
import { type Architecture, readFixture } from "./fixtures.ts";

const fixture = await readFixture<Record<string, Architecture>>("architectures.json");

describe.each(Object.entries(fixture))("%s", (_, { config: json, tensors, gguf, modules }) => {
  const { family } = parseHfConfig(json, "config.json");

  test("GGUF names are those of the gguf package", () => {
    for (const [name, expected] of Object.entries(gguf))
      if (expected !== null)
        expect(ggufTensorName(family, pathOfHfTensor(family, name) ?? "")).toBe(expected);
  });

  test("every tensor and module name survives the way to our path and back", () => {
    for (const name of Object.keys(tensors)) {
      const path = pathOfHfTensor(family, name) as string;
      expect(hfTensorName(family, path)).toBe(name);
      if (gguf[name] !== null) expect(pathOfGgufTensor(family, ggufTensorName(family, path))).toBe(path);
    }
    for (const module of modules)
      expect(hfModuleName(family, pathOfHfModule(family, module) ?? "")).toBe(module);
  });

  test("checkpoints of the bare base model, without its prefix, are understood", () => {
    for (const name of Object.keys(tensors))
      expect(pathOfHfTensor(family, name.replace(/^(model|transformer|bert|roberta)\./, ""))).toBe(
        pathOfHfTensor(family, name),
      );
  });
});

test("names as PEFT and llama.cpp write them", () => {
  expect(hfModuleName("llama", "layers.11.attention.q")).toBe("model.layers.11.self_attn.q_proj");
  expect(hfModuleName("gpt2", "layers.0.attention.qkv")).toBe("transformer.h.0.attn.c_attn");
  expect(hfModuleName("qwen3", "head")).toBe("lm_head");
  expect(ggufTensorName("llama", "layers.3.mlp.down.weight")).toBe("blk.3.ffn_down.weight");
  expect(ggufTensorName("gpt2", "positions.weight")).toBe("position_embd.weight");
});

test("buffers are ignored, weights that look like them are not", () => {
  expect(isIgnoredHfTensor("gpt2", "h.0.attn.bias")).toBe(true);
  expect(isIgnoredHfTensor("gpt2", "transformer.h.0.attn.masked_bias")).toBe(true);
  expect(isIgnoredHfTensor("gpt2", "transformer.h.0.attn.c_attn.bias")).toBe(false);
  expect(isIgnoredHfTensor("llama", "model.layers.0.self_attn.rotary_emb.inv_freq")).toBe(true);
  expect(isIgnoredHfTensor("llama", "model.layers.0.self_attn.q_proj.bias")).toBe(false);
});

test("only GPT-2's Conv1D weights are transposed", () => {
  expect(isTransposed("gpt2", "layers.1.mlp.up.weight")).toBe(true);
  expect(isTransposed("gpt2", "layers.1.mlp.up")).toBe(true);
  expect(isTransposed("gpt2", "layers.1.mlp.up.bias")).toBe(false);
  expect(isTransposed("gpt2", "embed.weight")).toBe(false);
  expect(isTransposed("llama", "layers.1.mlp.up.weight")).toBe(false);
});

test("unknown names give null on the way in and an error on the way out", () => {
  for (const name of [
    "model.layers.x.mlp.up_proj.weight",
    "model.layers.01.mlp.up_proj.weight",
    "lm_head",
    "v_head.weight",
  ])
    expect(pathOfHfTensor("llama", name)).toBeNull();
  expect(pathOfHfModule("llama", "model.layers.mlp.up_proj")).toBeNull();
  expect(pathOfGgufTensor("llama", "blk.0.ffn_gate_exps.weight")).toBeNull();
  expect(() => hfTensorName("llama", "positions.weight")).toThrow(UnsupportedError);
  expect(() => hfModuleName("t5", "embed")).toThrow(
    /model family "t5"; known: llama, qwen2, qwen3, gemma3, phi3, gpt2/,
  );
});

test("encoders: TensorFlow's names of norms, heads for masked words, and the head beside the base", () => {
  expect(pathOfHfTensor("bert", "bert.embeddings.LayerNorm.gamma")).toBe("embed_norm.weight");
  expect(pathOfHfTensor("bert", "encoder.layer.1.output.LayerNorm.beta")).toBe("layers.1.mlp_norm.bias");
  expect(pathOfHfTensor("roberta", "classifier.out_proj.weight")).toBe("classifier.out.weight");
  for (const name of ["cls.predictions.bias", "cls.seq_relationship.weight", "bert.embeddings.position_ids"])
    expect(isIgnoredHfTensor("bert", name), name).toBe(true);
  for (const name of ["lm_head.dense.weight", "roberta.pooler.dense.bias", "roberta.embeddings.position_ids"])
    expect(isIgnoredHfTensor("roberta", name), name).toBe(true);
  expect(isIgnoredHfTensor("bert", "bert.pooler.dense.weight")).toBe(false);
});
