import { UnsupportedError } from "../../errors.ts";
import type { Fields } from "../fields.ts";
import type { GgufFile } from "../gguf/file.ts";
import { f32, type GgufTyped, u32 } from "../gguf/values.ts";
import { globalRopeOf, localRopeOf } from "../hf/rope.ts";
import type { ModelConfig } from "../model.ts";
import type { Architecture, HfConfig, NameRow, Naming, ParsedConfig } from "./architecture.ts";
import { attentionBiases, layerRows, llamaParser } from "./llama-like.ts";
import { llamaLikeConfig, llamaLikeKeys } from "./llama-like-gguf.ts";

/** transformers' defaults, which are those of the released models. */
const PATTERN = 6;
const GLOBAL_THETA = 1_000_000;
const LOCAL_THETA = 10_000;

/** llama.cpp takes a model of so many layers to be the 27B one, whose attention has another scale. */
const LAYERS_27B = 62;

/** Checkpoints hold the norms' scales less 1, GGUF files the scales. */
const norms = (rows: readonly NameRow[]): NameRow[] => rows.map((row) => ({ ...row, ggufOffset: 1 }));

const NAMES: Naming = {
  basePrefix: "model.",
  ignored: /(^|\.)rotary_emb(_local)?\.inv_freq$/,
  rows: [
    { ours: "embed", hf: "model.embed_tokens", gguf: "token_embd" },
    ...layerRows([
      ["attention.q", "self_attn.q_proj", "attn_q"],
      ["attention.k", "self_attn.k_proj", "attn_k"],
      ["attention.v", "self_attn.v_proj", "attn_v"],
      ["attention.o", "self_attn.o_proj", "attn_output"],
      ["mlp.gate", "mlp.gate_proj", "ffn_gate"],
      ["mlp.up", "mlp.up_proj", "ffn_up"],
      ["mlp.down", "mlp.down_proj", "ffn_down"],
    ]),
    ...norms([
      ...layerRows([
        ["attention_norm", "input_layernorm", "attn_norm"],
        ["attention.q_norm", "self_attn.q_norm", "attn_q_norm"],
        ["attention.k_norm", "self_attn.k_norm", "attn_k_norm"],
        ["attention_post_norm", "post_attention_layernorm", "post_attention_norm"],
        ["mlp_norm", "pre_feedforward_layernorm", "ffn_norm"],
        ["mlp_post_norm", "post_feedforward_layernorm", "post_ffw_norm"],
      ]),
      { ours: "final_norm", hf: "model.norm", gguf: "output_norm" },
    ]),
    { ours: "head", hf: "lm_head", gguf: "output" },
  ],
};

const parseShared = llamaParser({
  biases: attentionBiases,
  slidingWindow: (config) => config.count("sliding_window", 4096),
  rope: (config, maxPositions) => globalRopeOf(config, maxPositions, GLOBAL_THETA),
  activation: ["hidden_activation", "gelu_pytorch_tanh"],
  defaultHeadDim: 256,
  tied: true,
});

/** Variants that some configs switch on and we do not have. */
function checkVariants(config: Fields): void {
  for (const key of ["attn_logit_softcapping", "final_logit_softcapping"])
    if (config.raw(key) !== undefined) config.problem(key, "soft capping is not supported, expected null");
  if (config.flag("use_bidirectional_attention", false))
    config.problem("use_bidirectional_attention", "true is not supported");
}

/** Layers with a sliding window: as `layer_types` says, or all but every `sliding_window_pattern`-th. */
function localIndices(config: Fields, layerCount: number): number[] {
  const every = Array.from({ length: layerCount }, (_, i) => i);
  const types = config.raw("layer_types");
  if (types === undefined) {
    const pattern = config.count("sliding_window_pattern", PATTERN);
    return every.filter((i) => (i + 1) % pattern !== 0);
  }
  const isKnown = (type: unknown): boolean => type === "sliding_attention" || type === "full_attention";
  if (!Array.isArray(types) || types.length !== layerCount || !types.every(isKnown))
    config.problem(
      "layer_types",
      `expected "sliding_attention" or "full_attention" for each of ${layerCount} layers`,
    );
  return Array.isArray(types) ? every.filter((i) => types[i] === "sliding_attention") : [];
}

function parse(config: Fields): ParsedConfig {
  checkVariants(config);
  const shared = parseShared(config);
  const scalar = config.positive("query_pre_attn_scalar", 256);
  const rope = localRopeOf(config, shared.maxPositions, LOCAL_THETA);
  return {
    ...shared,
    localLayers: { indices: localIndices(config, shared.layerCount), rope },
    embeddingScale: Math.sqrt(shared.hiddenSize),
    ...(scalar === shared.headDim ? {} : { attentionScale: 1 / Math.sqrt(scalar) }),
  };
}

/** What a query's products with keys are divided by, squared, where llama.cpp runs the model. */
function ggufScalar(layerCount: number, hiddenSize: number, headCount: number, headDim: number): number {
  return layerCount === LAYERS_27B ? Math.floor(hiddenSize / headCount) : headDim;
}

async function configOf(gguf: GgufFile, keys: Fields, prefix: string): Promise<HfConfig> {
  const { hidden_act: _silu, ...shared } = await llamaLikeConfig(gguf, keys, prefix);
  const { num_hidden_layers, hidden_size, num_attention_heads, head_dim } = shared as Record<string, number>;
  return {
    ...shared,
    attention_bias: gguf.entries.has("blk.0.attn_q.bias"),
    hidden_activation: "gelu_pytorch_tanh",
    query_pre_attn_scalar: ggufScalar(
      num_hidden_layers as number,
      hidden_size as number,
      num_attention_heads as number,
      head_dim as number,
    ),
    rope_local_base_freq: keys.positive(`${prefix}.rope.freq_base_swa`, LOCAL_THETA),
    sliding_window: keys.count(`${prefix}.attention.sliding_window`),
    sliding_window_pattern: keys.count(`${prefix}.attention.sliding_window_pattern`, PATTERN),
  };
}

/** The p for which the global layers are every p-th. @throws UnsupportedError if there is none */
function patternOf({ layerCount, localLayers }: ModelConfig): number {
  const local = new Set(localLayers?.indices);
  const layers = Array.from({ length: layerCount }, (_, i) => i);
  const first = layers.find((i) => !local.has(i)) ?? layerCount;
  if (layers.every((i) => local.has(i) === ((i + 1) % (first + 1) !== 0))) return first + 1;
  throw new UnsupportedError(
    "a gemma3 model whose global layers are not every n-th cannot be written as GGUF: llama.cpp knows no other pattern",
  );
}

function checkAttentionScale(config: ModelConfig): void {
  const { layerCount, hiddenSize, headCount, headDim, attentionScale = 1 / Math.sqrt(headDim) } = config;
  const expected = 1 / Math.sqrt(ggufScalar(layerCount, hiddenSize, headCount, headDim));
  if (Math.abs(attentionScale - expected) <= 1e-6 * expected) return;
  throw new UnsupportedError(
    `a gemma3 model of ${layerCount} layers with query_pre_attn_scalar ${1 / attentionScale ** 2} cannot be written as ` +
      `GGUF: llama.cpp computes with ${1 / expected ** 2}`,
  );
}

/** The local layers' frequency and the pattern are newer keys, which llama.cpp takes for 10000 and 6 where it does not know
 *  them: those of the released models. */
function keysOf(config: ModelConfig): Readonly<Record<string, GgufTyped>> {
  checkAttentionScale(config);
  return {
    ...llamaLikeKeys(config, "gelu-tanh"),
    context_length: u32(config.maxPositions),
    "attention.sliding_window": u32(config.slidingWindow ?? config.maxPositions),
    "attention.sliding_window_pattern": u32(patternOf(config)),
    "rope.freq_base_swa": f32(config.localLayers?.rope.theta ?? LOCAL_THETA),
  };
}

/** Gemma 3, the text models: 270M and 1B. The larger ones see pictures, and their checkpoints are others. */
export const gemma3: Architecture = {
  name: "Gemma3ForCausalLM",
  modelType: "gemma3_text",
  peftTargets: ["q_proj", "v_proj"],
  family: "gemma3",
  names: NAMES,
  parse,
  gguf: { name: "gemma3", permuted: false, preTokenizer: "default", configOf, keysOf },
};
