import { expect, test } from "vitest";
import { InputError, UnsupportedError } from "../../../src/errors.ts";
import { parseHfConfig } from "../../../src/formats/hf/config.ts";
import { readFixture } from "../fixtures.ts";

const fixture = await readFixture<Record<string, { config: Record<string, unknown> }>>("architectures.json");

function configOf(name: string, changes: Record<string, unknown> = {}) {
  const json = { ...fixture[name]?.config, ...changes };
  for (const [key, value] of Object.entries(changes)) if (value === undefined) delete json[key];
  return parseHfConfig(json, "dir/config.json");
}

/** transformers 4 style, as most published models have it. */
const V4 = { rope_parameters: undefined };

test("every field of a llama config, tied, with biases and scaled positions", () => {
  expect(configOf("llama-tied-biases")).toEqual({
    family: "llama",
    architecture: "LlamaForCausalLM",
    vocabSize: 300,
    hiddenSize: 16,
    layerCount: 2,
    headCount: 4,
    kvHeadCount: 2,
    headDim: 6,
    mlpSize: 24,
    maxPositions: 64,
    normEpsilon: 1e-6,
    activation: "silu",
    rope: {
      theta: 500000,
      scaling: { kind: "llama3", factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositions: 32 },
    },
    tiedEmbeddings: true,
    qkvBias: true,
    outputBias: true,
    mlpBias: true,
    slidingWindow: null,
  });
});

test("what the other architectures declare", () => {
  expect(configOf("mistral")).toMatchObject({ family: "llama", slidingWindow: 4096, qkvBias: false });
  expect(configOf("mistral-no-window").slidingWindow).toBeNull();
  expect(configOf("qwen2")).toMatchObject({
    family: "qwen2",
    qkvBias: true,
    outputBias: false,
    slidingWindow: null,
  });
  expect(configOf("qwen3")).toMatchObject({
    family: "qwen3",
    headDim: 8,
    qkvBias: false,
    tiedEmbeddings: false,
  });
  expect(configOf("phi3")).toMatchObject({ family: "phi3", slidingWindow: null, tiedEmbeddings: false });
  expect(configOf("phi3", { sliding_window: 8 }).slidingWindow).toBe(8);
  expect(configOf("gpt2")).toMatchObject({
    family: "gpt2",
    mlpSize: 64,
    activation: "gelu-tanh",
    rope: null,
    tiedEmbeddings: true,
    normEpsilon: 1e-5,
    qkvBias: true,
  });
});

test("rope in the style of transformers 4 reads as that of 5", () => {
  expect(configOf("llama", { ...V4, rope_theta: 5e5 }).rope).toEqual({
    theta: 5e5,
    scaling: { kind: "none" },
  });
  expect(configOf("llama", V4).rope?.theta).toBe(10_000);
  const linear = configOf("llama", { ...V4, rope_scaling: { type: "linear", factor: 2 } });
  expect(linear.rope?.scaling).toEqual({ kind: "linear", factor: 2 });
  const llama3 = fixture["llama-tied-biases"]?.config.rope_parameters as Record<string, unknown>;
  const { rope_theta, ...rope_scaling } = llama3;
  expect(configOf("llama", { ...V4, rope_theta, rope_scaling }).rope).toEqual(
    configOf("llama-tied-biases").rope,
  );
});

test("rope types that are not supported are refused by name", () => {
  for (const type of ["yarn", "dynamic", "longrope"])
    expect(() => configOf("llama", { ...V4, rope_scaling: { rope_type: type, factor: 2 } })).toThrow(
      `dir/config.json: rope_scaling.rope_type: rope type "${type}" is not supported, known: default, linear, llama3`,
    );
  expect(() => configOf("llama", { partial_rotary_factor: 0.5 })).toThrow(
    /partial_rotary_factor: rotating only a part/,
  );
});

test("Phi-3's scaling for long texts is refused, and says what to use", () => {
  expect(() =>
    configOf("phi3", { ...V4, rope_scaling: { type: "su", short_factor: [1], long_factor: [2] } }),
  ).toThrow(
    'dir/config.json: rope_scaling.type: rope type "su" is not supported, known: default, linear, llama3; ' +
      "its frequencies change with the length of the text: the variant of the model for 4k tokens has none",
  );
});

test("every field of a Gemma 3 config that other families do not have", () => {
  expect(configOf("gemma3")).toMatchObject({
    family: "gemma3",
    headDim: 6,
    activation: "gelu-tanh",
    tiedEmbeddings: true,
    slidingWindow: 8,
    rope: { theta: 1e6, scaling: { kind: "none" } },
    localLayers: { indices: [0, 1], rope: { theta: 1e4, scaling: { kind: "none" } } },
    attentionScale: 1 / 16,
    embeddingScale: 4,
  });
  expect(configOf("gemma3", { query_pre_attn_scalar: 6 }).attentionScale).toBeUndefined();
  expect(configOf("gemma3", { tie_word_embeddings: undefined }).tiedEmbeddings).toBe(true);
});

test("Gemma 3 in the style of transformers 4: pattern, two base frequencies, one scaling", () => {
  const v4 = {
    ...V4,
    layer_types: undefined,
    num_hidden_layers: 7,
    rope_local_base_freq: 5000,
    rope_scaling: { rope_type: "linear", factor: 8 },
    rope_theta: 2e6,
    sliding_window_pattern: 3,
  };
  const linear = { theta: 2e6, scaling: { kind: "linear", factor: 8 } };
  expect(configOf("gemma3", v4)).toMatchObject({
    rope: linear,
    localLayers: { indices: [0, 1, 3, 4, 6], rope: { theta: 5000, scaling: { kind: "none" } } },
  });
  expect(configOf("gemma3", { ...v4, sliding_window_pattern: undefined }).localLayers?.indices).toEqual([
    0, 1, 2, 3, 4, 6,
  ]);
});

test("variants of Gemma 3 that would compute something else are refused, all at once", () => {
  const variants = {
    attn_logit_softcapping: 50,
    final_logit_softcapping: 30,
    layer_types: ["sliding_attention", "chunked_attention"],
    rope_parameters: { full_attention: { rope_type: "yarn" }, sliding_attention: { rope_theta: 0 } },
    use_bidirectional_attention: true,
  };
  let message = "";
  try {
    configOf("gemma3", variants);
  } catch (error) {
    message = (error as InputError).message;
  }
  expect(message.split("\n").slice(1).sort()).toEqual([
    "  dir/config.json: attn_logit_softcapping: soft capping is not supported, expected null",
    "  dir/config.json: final_logit_softcapping: soft capping is not supported, expected null",
    '  dir/config.json: layer_types: expected "sliding_attention" or "full_attention" for each of 2 layers',
    '  dir/config.json: rope_parameters.full_attention.rope_type: rope type "yarn" is not supported, known: default, linear, llama3',
    "  dir/config.json: rope_parameters.sliding_attention.rope_theta: expected a number above 0, got 0",
    "  dir/config.json: use_bidirectional_attention: true is not supported",
  ]);
});

test("all missing and wrong keys come in one error", () => {
  const broken = {
    hidden_size: undefined,
    vocab_size: "300",
    num_hidden_layers: 1.5,
    tie_word_embeddings: 1,
    hidden_act: "mish",
  };
  let error: unknown;
  try {
    configOf("llama", broken);
  } catch (caught) {
    error = caught;
  }
  expect(error).toBeInstanceOf(InputError);
  expect((error as InputError).message.split("\n").slice(1).sort()).toEqual([
    `  dir/config.json: hidden_act: activation "mish" is not supported, known: silu, swish, gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, relu`,
    "  dir/config.json: hidden_size: is missing, expected a whole number of 1 or more",
    "  dir/config.json: num_hidden_layers: expected a whole number of 1 or more, got 1.5",
    "  dir/config.json: tie_word_embeddings: expected true or false, got 1",
    '  dir/config.json: vocab_size: expected a whole number of 1 or more, got "300"',
  ]);
});

test("a layer count without end is refused", () => {
  expect(() => configOf("llama", { num_hidden_layers: 1e9 })).toThrow(
    /num_hidden_layers: is 1000000000, expected at most 2000/,
  );
});

test("head counts that do not divide are refused", () => {
  expect(() => configOf("llama", { num_key_value_heads: 3 })).toThrow(
    /num_key_value_heads: 3 does not divide .* 4/,
  );
  expect(() => configOf("llama", { hidden_size: 18, head_dim: undefined })).toThrow(
    /head_dim: expected an even whole number, got 4.5/,
  );
  expect(() => configOf("gpt2", { n_head: 3 })).toThrow(/n_head: 3 does not divide n_embd 16/);
});

test("variants that would compute something else are refused", () => {
  expect(() => configOf("gpt2", { scale_attn_by_inverse_layer_idx: true })).toThrow(
    /scale_attn_by_inverse_layer_idx/,
  );
  expect(() => configOf("gpt2", { scale_attn_weights: false })).toThrow(
    /scale_attn_weights: false is not supported/,
  );
  const window = { use_sliding_window: true, sliding_window: 8 };
  expect(() => configOf("qwen2", { ...window, max_window_layers: 1 })).toThrow(/some of 2 layers only/);
  expect(configOf("qwen2", { ...window, max_window_layers: 0 }).slidingWindow).toBe(8);
  expect(configOf("qwen2", { ...window, max_window_layers: 2 }).slidingWindow).toBeNull();
  expect(() => configOf("llama", { quantization_config: { bits: 4 } })).toThrow(UnsupportedError);
});

test("the architecture is found by model_type where none is named; an unknown one lists the known", () => {
  expect(configOf("qwen3", { architectures: undefined }).family).toBe("qwen3");
  expect(() => configOf("llama", { architectures: ["T5Model"] })).toThrow(UnsupportedError);
  expect(() => configOf("llama", { architectures: ["T5Model"] })).toThrow(
    "dir/config.json: architecture T5Model is not supported; known: LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, Gemma3ForCausalLM, Phi3ForCausalLM, GPT2LMHeadModel, BertForSequenceClassification, RobertaForSequenceClassification",
  );
  expect(() => parseHfConfig({ model_type: "__proto__" }, "c")).toThrow(
    /model_type "__proto__" is not supported/,
  );
});

test("encoders: labels, positions after the padding id, and what is not supported", () => {
  const { encoder, maxPositions } = configOf("roberta", {
    id2label: { 0: "no", 1: "yes" },
    num_labels: undefined,
  });
  expect(encoder).toMatchObject({ firstPosition: 2, tokenTypeCount: 1 });
  expect(encoder?.classifier).toEqual({ labels: ["no", "yes"], kind: "classes" });
  expect(maxPositions).toBe(62);
  expect(configOf("bert", { id2label: { 0: "LABEL_0" } }).encoder?.classifier.kind).toBe("value");
  expect(configOf("bert", { architectures: ["BertForMaskedLM"] }).architecture).toBe(
    "BertForSequenceClassification",
  );
  const odd = {
    position_embedding_type: "relative_key",
    is_decoder: true,
    problem_type: "multi_label_classification",
  };
  expect(() => configOf("bert", odd)).toThrow(
    /position_embedding_type: "relative_key" is not supported[\s\S]*is_decoder: true is not supported[\s\S]*problem_type/,
  );
});
