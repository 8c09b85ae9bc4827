import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { InputError, UnsupportedError } from "../../../src/errors.ts";
import { rebuildHfConfig } from "../../../src/formats/gguf/config.ts";
import { openGguf } from "../../../src/formats/gguf/open.ts";
import { parseHfConfig } from "../../../src/formats/hf/config.ts";
import type { ModelConfig } from "../../../src/formats/model.ts";
import { messageOf, readFixture, temporaryFolder } from "../fixtures.ts";
import { ggufBytes, type Value } from "./bytes.ts";

const EMBEDDING = {
  name: "token_embd.weight",
  dimensions: [16, 300],
  type: 0,
  data: new Uint8Array(16 * 300 * 4),
};

function vector(name: string, values: readonly number[] = [0]) {
  return {
    name,
    dimensions: [values.length],
    type: 0,
    data: new Uint8Array(Float32Array.from(values).buffer),
  };
}

const SIZES: Record<string, Value> = {
  context_length: 64,
  embedding_length: 16,
  block_count: 2,
  feed_forward_length: 24,
  "attention.head_count": 4,
  "attention.head_count_kv": 2,
  "attention.layer_norm_rms_epsilon": { type: 6, value: 1e-6 },
  "rope.freq_base": { type: 6, value: 500_000 },
};

/** Configuration of a GGUF with these keys under the architecture's name; undefined leaves a key out. */
async function configOf(
  architecture: string,
  changes: Record<string, Value | undefined> = {},
  tensors: ReturnType<typeof vector>[] = [],
): Promise<ModelConfig> {
  const path = join(await temporaryFolder(), "model.gguf");
  const keys = Object.entries({ ...SIZES, ...changes }).filter(
    (pair): pair is [string, Value] => pair[1] !== undefined,
  );
  const values = Object.fromEntries(keys.map(([key, value]) => [`${architecture}.${key}`, value]));
  const bytes = ggufBytes({
    values: { "general.architecture": architecture, ...values },
    tensors: [EMBEDDING, ...tensors],
  });
  await writeFile(path, bytes);
  const gguf = await openGguf(path);
  try {
    return parseHfConfig(await rebuildHfConfig(gguf), path);
  } finally {
    await gguf.close();
  }
}

test("every field of a llama", async () => {
  expect(await configOf("llama")).toEqual({
    family: "llama",
    architecture: "LlamaForCausalLM",
    vocabSize: 300,
    hiddenSize: 16,
    layerCount: 2,
    headCount: 4,
    kvHeadCount: 2,
    headDim: 4,
    mlpSize: 24,
    maxPositions: 64,
    normEpsilon: Math.fround(1e-6),
    activation: "silu",
    rope: { theta: 500_000, scaling: { kind: "none" } },
    tiedEmbeddings: true,
    qkvBias: false,
    outputBias: false,
    mlpBias: false,
    slidingWindow: null,
  });
});

test("what the tensors and the other architectures say", async () => {
  const biased = await configOf("llama", {}, [vector("blk.0.attn_q.bias"), vector("output.weight")]);
  expect(biased).toMatchObject({ qkvBias: true, tiedEmbeddings: false });
  expect(
    await configOf("llama", {
      "attention.key_length": 8,
      "attention.value_length": 8,
      "rope.dimension_count": 8,
    }),
  ).toMatchObject({ headDim: 8 });
  expect(await configOf("llama", { "rope.freq_base": undefined })).toMatchObject({ rope: { theta: 10_000 } });
  expect(await configOf("qwen2")).toMatchObject({ family: "qwen2", qkvBias: true, headDim: 4 });
  expect(await configOf("qwen3")).toMatchObject({ family: "qwen3", qkvBias: false, headDim: 4 });
  const gpt2 = { "attention.layer_norm_epsilon": { type: 6, value: 1e-5 } };
  expect(await configOf("gpt2", gpt2)).toMatchObject({
    family: "gpt2",
    activation: "gelu-tanh",
    rope: null,
    mlpSize: 24,
    normEpsilon: Math.fround(1e-5),
    tiedEmbeddings: true,
  });
});

test("Gemma 3: window, pattern and frequencies, those of the released models where keys are missing", async () => {
  const keys = { "attention.sliding_window": 8, "attention.key_length": 4, block_count: 7 };
  expect(await configOf("gemma3", keys)).toMatchObject({
    family: "gemma3",
    activation: "gelu-tanh",
    slidingWindow: 8,
    rope: { theta: 500_000, scaling: { kind: "none" } },
    localLayers: { indices: [0, 1, 2, 3, 4, 6], rope: { theta: 10_000, scaling: { kind: "none" } } },
    embeddingScale: 4,
  });
  const newer = {
    ...keys,
    "attention.sliding_window_pattern": 2,
    "rope.freq_base_swa": { type: 6, value: 100 },
    "rope.scaling.type": "linear",
    "rope.scaling.factor": { type: 6, value: 8 },
  };
  expect(await configOf("gemma3", newer)).toMatchObject({
    rope: { theta: 500_000, scaling: { kind: "linear", factor: 8 } },
    localLayers: { indices: [0, 2, 4, 6], rope: { theta: 100, scaling: { kind: "none" } } },
  });
  const big = {
    ...keys,
    block_count: 62,
    "attention.key_length": 8,
    "attention.value_length": 8,
    "rope.dimension_count": 8,
  };
  expect((await configOf("gemma3", big)).attentionScale, "embedding_length / head_count").toBe(0.5);
  await expect(configOf("gemma3")).rejects.toThrow(/gemma3.attention.sliding_window: is missing/);
});

test("Phi-3's window of 0 is none", async () => {
  expect(await configOf("phi3", { "attention.sliding_window": 0 })).toMatchObject({
    family: "phi3",
    slidingWindow: null,
  });
  expect((await configOf("phi3", { "attention.sliding_window": 8 })).slidingWindow).toBe(8);
});

interface RopeFreqs {
  readonly factor: number;
  readonly theta: number;
  readonly headDim: number;
  readonly divisors: number[];
}

test("Llama 3.1's rope scaling is recognised in its frequency divisors", async () => {
  for (const { factor, theta, headDim, divisors } of await readFixture<RopeFreqs[]>("rope-freqs.json")) {
    const keys = {
      "rope.freq_base": { type: 6, value: theta },
      "attention.key_length": headDim,
      "attention.value_length": headDim,
      "rope.dimension_count": headDim,
    };
    const { rope } = await configOf("llama", keys, [vector("rope_freqs.weight", divisors)]);
    expect(rope).toEqual({
      theta,
      scaling: { kind: "llama3", factor, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositions: 8192 },
    });
    const other = divisors.map((x, i) => (i > 0 && x < factor ? x * 1.05 : x));
    await expect(configOf("llama", keys, [vector("rope_freqs.weight", other)])).rejects.toThrow(
      /rope_freqs.weight holds \d+ divisors that are not Llama 3.1's rope scaling/,
    );
  }
});

test("linear scaling is kept, other scalings are refused", async () => {
  const scaled = (type: string): Record<string, Value> => ({
    "rope.scaling.type": type,
    "rope.scaling.factor": { type: 6, value: 2 },
  });
  expect((await configOf("llama", scaled("linear"))).rope?.scaling).toEqual({ kind: "linear", factor: 2 });
  expect((await configOf("llama", { "rope.scale_linear": { type: 6, value: 4 } })).rope?.scaling).toEqual({
    kind: "linear",
    factor: 4,
  });
  await expect(configOf("llama", scaled("yarn"))).rejects.toThrow(/rope type "yarn" is not supported/);
});

test("a head has its key length, and all of it is rotated where no count says otherwise", async () => {
  const keys = {
    "rope.dimension_count": undefined,
    "attention.key_length": 16,
    "attention.value_length": 16,
  };
  expect((await configOf("llama", keys)).headDim).toBe(16);
  const { hiddenSize, headCount, headDim } = await configOf("llama", {
    "rope.dimension_count": undefined,
    "attention.key_length": undefined,
    "attention.value_length": undefined,
  });
  expect(headDim).toBe(hiddenSize / headCount);
});

test("missing keys, wrong kinds and unsupported variants come in one error", async () => {
  const broken = {
    block_count: undefined,
    "attention.head_count_kv": [2, 2],
    "attention.layer_norm_rms_epsilon": undefined,
    expert_count: 8,
    "rope.dimension_count": 2,
    "attention.key_length": 4,
  };
  await expect(configOf("llama", broken)).rejects.toThrow(InputError);
  const message = await messageOf(configOf("llama", broken));
  for (const part of [
    /llama.block_count: is missing, expected a whole number/,
    /llama.attention.head_count_kv: expected a whole number of 1 or more, got an array/,
    /llama.attention.layer_norm_rms_epsilon: is missing, expected a number above 0/,
    /llama.expert_count: mixtures of experts are not supported/,
    /llama.rope.dimension_count: rotating 2 of 4 dimensions is not supported/,
  ])
    expect(message).toMatch(part);
});

test("an unknown architecture lists the known ones", async () => {
  await expect(configOf("mamba")).rejects.toThrow(UnsupportedError);
  await expect(configOf("mamba")).rejects.toThrow(
    /architecture "mamba" is not supported; known: llama, qwen2, qwen3, gemma3, phi3, gpt2/,
  );
});
