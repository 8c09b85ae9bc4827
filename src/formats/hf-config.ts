import { UnsupportedError } from "../errors.ts";
import { type Fields, fields } from "./fields.ts";
import { ropeOf } from "./hf-rope.ts";
import type { ModelConfig } from "./model-source.ts";

/** What differs between the llama-like architectures. */
interface LlamaTraits {
  readonly family: string;
  /** Biases of q, k and v, of the attention output and of the MLP. */
  readonly biases: (config: Fields) => Pick<ModelConfig, "qkvBias" | "outputBias" | "mlpBias">;
  readonly slidingWindow: (config: Fields, layerCount: number) => number | null;
  /** head_dim where the config gives none. */
  readonly headDim: (hiddenSize: number, headCount: number) => number;
}

type Parse = (architecture: string, config: Fields) => ModelConfig;

/** Architectures that can be opened. A new one is one line. */
const ARCHITECTURES: Readonly<Record<string, { readonly modelType: string; readonly parse: Parse }>> = {
  LlamaForCausalLM: {
    modelType: "llama",
    parse: llamaLike({ family: "llama", biases: llamaBiases, slidingWindow: () => null, headDim: evenSplit }),
  },
  MistralForCausalLM: {
    modelType: "mistral",
    parse: llamaLike({ family: "llama", biases: noBiases, slidingWindow: mistralWindow, headDim: evenSplit }),
  },
  Qwen2ForCausalLM: {
    modelType: "qwen2",
    parse: llamaLike({ family: "qwen2", biases: qwen2Biases, slidingWindow: qwenWindow, headDim: evenSplit }),
  },
  Qwen3ForCausalLM: {
    modelType: "qwen3",
    parse: llamaLike({
      family: "qwen3",
      biases: attentionBiases,
      slidingWindow: qwenWindow,
      headDim: () => 128,
    }),
  },
  GPT2LMHeadModel: { modelType: "gpt2", parse: gpt2 },
};

/** More layers than any model has: a damaged count must not make us list weights without end. */
const LAYER_LIMIT = 2000;

const ACTIVATIONS: Readonly<Record<string, ModelConfig["activation"]>> = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_new: "gelu-tanh",
  gelu_fast: "gelu-tanh",
  gelu_pytorch_tanh: "gelu-tanh",
  relu: "relu",
};

function activationOf(config: Fields, key: string, fallback: string): ModelConfig["activation"] {
  const name = config.text(key, fallback);
  const activation = Object.hasOwn(ACTIVATIONS, name) ? ACTIVATIONS[name] : undefined;
  if (activation) return activation;
  config.problem(key, `activation "${name}" is not supported, known: ${Object.keys(ACTIVATIONS).join(", ")}`);
  return "silu";
}

function evenSplit(hiddenSize: number, headCount: number): number {
  return hiddenSize / headCount;
}

function noBiases() {
  return { qkvBias: false, outputBias: false, mlpBias: false };
}

function qwen2Biases() {
  return { qkvBias: true, outputBias: false, mlpBias: false };
}

function attentionBiases(config: Fields) {
  const bias = config.flag("attention_bias", false);
  return { qkvBias: bias, outputBias: bias, mlpBias: false };
}

function llamaBiases(config: Fields) {
  return { ...attentionBiases(config), mlpBias: config.flag("mlp_bias", false) };
}

function mistralWindow(config: Fields): number | null {
  // A missing key means transformers' default of 4096; an explicit null means none, which `count` cannot tell apart.
  return config.isNull("sliding_window") ? null : config.count("sliding_window", 4096);
}

/** Qwen's window covers the layers from `max_window_layers` on; one window for all layers is what we have. */
function qwenWindow(config: Fields, layerCount: number): number | null {
  if (!config.flag("use_sliding_window", false) || config.isNull("sliding_window")) return null;
  const first = config.raw("max_window_layers") ?? 28;
  if (first === 0) return config.count("sliding_window", 4096);
  if (typeof first === "number" && first >= layerCount) return null;
  config.problem(
    "max_window_layers",
    `a sliding window on some of ${layerCount} layers only is not supported`,
  );
  return null;
}

function checkHeads(config: Fields, headCount: number, kvHeadCount: number, headDim: number): void {
  if (headCount % kvHeadCount !== 0)
    config.problem("num_key_value_heads", `${kvHeadCount} does not divide num_attention_heads ${headCount}`);
  if (!Number.isSafeInteger(headDim) || headDim % 2 !== 0)
    config.problem(
      "head_dim",
      `expected an even whole number, got ${headDim} (hidden_size / num_attention_heads)`,
    );
}

function llamaLike(traits: LlamaTraits): Parse {
  return (architecture, config) => {
    const hiddenSize = config.count("hidden_size");
    const headCount = config.count("num_attention_heads");
    const kvHeadCount = config.count("num_key_value_heads", headCount);
    const layerCount = config.count("num_hidden_layers", undefined, LAYER_LIMIT);
    const maxPositions = config.count("max_position_embeddings");
    const headDim =
      config.raw("head_dim") === undefined ? traits.headDim(hiddenSize, headCount) : config.count("head_dim");
    checkHeads(config, headCount, kvHeadCount, headDim);
    return {
      family: traits.family,
      architecture,
      vocabSize: config.count("vocab_size"),
      hiddenSize,
      layerCount,
      headCount,
      kvHeadCount,
      headDim,
      mlpSize: config.count("intermediate_size"),
      maxPositions,
      normEpsilon: config.positive("rms_norm_eps", 1e-6),
      activation: activationOf(config, "hidden_act", "silu"),
      rope: ropeOf(config, maxPositions),
      tiedEmbeddings: config.flag("tie_word_embeddings", false),
      ...traits.biases(config),
      slidingWindow: traits.slidingWindow(config, layerCount),
    };
  };
}

/** Variants of attention that some GPT-2 configs switch on and we do not have. */
function checkGpt2(config: Fields, hiddenSize: number, headCount: number): void {
  if (hiddenSize % headCount !== 0)
    config.problem("n_head", `${headCount} does not divide n_embd ${hiddenSize}`);
  if (!config.flag("scale_attn_weights", true))
    config.problem("scale_attn_weights", "false is not supported");
  for (const key of ["scale_attn_by_inverse_layer_idx", "add_cross_attention"])
    if (config.flag(key, false)) config.problem(key, "true is not supported");
}

function gpt2(architecture: string, config: Fields): ModelConfig {
  const hiddenSize = config.count("n_embd");
  const headCount = config.count("n_head");
  checkGpt2(config, hiddenSize, headCount);
  return {
    family: "gpt2",
    architecture,
    vocabSize: config.count("vocab_size"),
    hiddenSize,
    layerCount: config.count("n_layer", undefined, LAYER_LIMIT),
    headCount,
    kvHeadCount: headCount,
    headDim: hiddenSize / headCount,
    mlpSize: config.count("n_inner", 4 * hiddenSize),
    maxPositions: config.count("n_positions"),
    normEpsilon: config.positive("layer_norm_epsilon", 1e-5),
    activation: activationOf(config, "activation_function", "gelu_new"),
    rope: null,
    tiedEmbeddings: config.flag("tie_word_embeddings", true),
    qkvBias: true,
    outputBias: true,
    mlpBias: true,
    slidingWindow: null,
  };
}

/** The architecture a config names; by `model_type` where `architectures` is missing. */
function architectureOf(file: string, config: Fields): string {
  const named = config.raw("architectures");
  const list = Array.isArray(named) ? named.map(String) : [];
  const known = list.find((name) => Object.hasOwn(ARCHITECTURES, name));
  if (known) return known;
  const modelType = config.raw("model_type");
  const byType = Object.entries(ARCHITECTURES).find(([, { modelType: type }]) => type === modelType);
  if (list.length === 0 && byType) return byType[0];
  const got = list.length > 0 ? list.join(", ") : `model_type ${JSON.stringify(modelType ?? null)}`;
  throw new UnsupportedError(
    `${file}: architecture ${got} is not supported; known: ${Object.keys(ARCHITECTURES).join(", ")}`,
  );
}

/** Translates a transformers config.json (`json`, read from `file`) to ours.
 *  @throws UnsupportedError for an unknown architecture, listing the known ones, and for quantized checkpoints;
 *  InputError naming every missing or wrong key. */
export function parseHfConfig(json: Readonly<Record<string, unknown>>, file: string): ModelConfig {
  const config = fields(file, json);
  const architecture = architectureOf(file, config);
  if (config.raw("quantization_config") !== undefined)
    throw new UnsupportedError(
      `${file}: the checkpoint is quantized (quantization_config); use its unquantized original or a .gguf file`,
    );
  const parsed = ARCHITECTURES[architecture]?.parse(architecture, config);
  config.finish();
  return parsed as ModelConfig;
}
