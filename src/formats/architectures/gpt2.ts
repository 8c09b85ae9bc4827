import type { Fields } from "../fields.ts";
import type { GgufFile } from "../gguf/file.ts";
import { f32, type GgufTyped, u32 } from "../gguf/values.ts";
import type { ModelConfig } from "../model.ts";
import {
  type Architecture,
  activationOf,
  type HfConfig,
  LAYER_LIMIT,
  type NameRow,
  type ParsedConfig,
  requireActivation,
} from "./architecture.ts";

/** A module that transformers has as Conv1D. */
function conv1d(ours: string, hf: string, gguf: string): NameRow {
  return { ours, hf, gguf, transposed: true };
}

const ROWS: readonly NameRow[] = [
  { ours: "embed", hf: "transformer.wte", gguf: "token_embd" },
  { ours: "positions", hf: "transformer.wpe", gguf: "position_embd" },
  { ours: "layers.{i}.attention_norm", hf: "transformer.h.{i}.ln_1", gguf: "blk.{i}.attn_norm" },
  conv1d("layers.{i}.attention.qkv", "transformer.h.{i}.attn.c_attn", "blk.{i}.attn_qkv"),
  conv1d("layers.{i}.attention.o", "transformer.h.{i}.attn.c_proj", "blk.{i}.attn_output"),
  { ours: "layers.{i}.mlp_norm", hf: "transformer.h.{i}.ln_2", gguf: "blk.{i}.ffn_norm" },
  conv1d("layers.{i}.mlp.up", "transformer.h.{i}.mlp.c_fc", "blk.{i}.ffn_up"),
  conv1d("layers.{i}.mlp.down", "transformer.h.{i}.mlp.c_proj", "blk.{i}.ffn_down"),
  { ours: "final_norm", hf: "transformer.ln_f", gguf: "output_norm" },
  { ours: "head", hf: "lm_head", gguf: "output" },
];

/** Variants of attention that some configs switch on and we do not have. */
function checkVariants(config: Fields, hiddenSize: number, headCount: number): void {
  if (hiddenSize % headCount !== 0)
    config.problem("n_head", `${headCount} does not divide n_embd ${hiddenSize}`);
  if (!config.flag("scale_attn_weights", true))
    config.problem("scale_attn_weights", "false is not supported");
  for (const key of ["scale_attn_by_inverse_layer_idx", "add_cross_attention"])
    if (config.flag(key, false)) config.problem(key, "true is not supported");
}

function parse(config: Fields): ParsedConfig {
  const hiddenSize = config.count("n_embd");
  const headCount = config.count("n_head");
  checkVariants(config, hiddenSize, headCount);
  return {
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

function configOf(_gguf: GgufFile, keys: Fields, prefix: string): HfConfig {
  const hiddenSize = keys.count(`${prefix}.embedding_length`);
  return {
    activation_function: "gelu_new",
    layer_norm_epsilon: keys.positive(`${prefix}.attention.layer_norm_epsilon`),
    n_embd: hiddenSize,
    n_head: keys.count(`${prefix}.attention.head_count`),
    n_inner: keys.count(`${prefix}.feed_forward_length`, 4 * hiddenSize),
    n_layer: keys.count(`${prefix}.block_count`),
    n_positions: keys.count(`${prefix}.context_length`),
  };
}

function keysOf(config: ModelConfig): Record<string, GgufTyped> {
  requireActivation(config, "gelu-tanh");
  return {
    context_length: u32(config.maxPositions),
    embedding_length: u32(config.hiddenSize),
    block_count: u32(config.layerCount),
    feed_forward_length: u32(config.mlpSize),
    "attention.head_count": u32(config.headCount),
    "attention.layer_norm_epsilon": f32(config.normEpsilon),
  };
}

/** GPT-2. */
export const gpt2: Architecture = {
  name: "GPT2LMHeadModel",
  modelType: "gpt2",
  peftTargets: ["c_attn"],
  family: "gpt2",
  names: { rows: ROWS, basePrefix: "transformer.", ignored: /(^|\.)attn\.(bias|masked_bias)$/ },
  parse,
  gguf: { name: "gpt2", permuted: false, preTokenizer: "gpt-2", configOf, keysOf },
};
