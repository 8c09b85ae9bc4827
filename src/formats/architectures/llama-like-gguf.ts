import type { Fields } from "../fields.ts";
import type { GgufFile } from "../gguf/file.ts";
import { ropeScalingOfFreqs } from "../gguf/rope.ts";
import { f32, type GgufTyped, text, u32 } from "../gguf/values.ts";
import type { ModelConfig, RopeConfig } from "../model.ts";
import { type HfConfig, requireActivation } from "./architecture.ts";

/** `rope.scaling.*` of the keys in transformers' terms; unknown types are passed on to be refused by name there. */
function ropeScalingOfKeys(keys: Fields, prefix: string): HfConfig | null {
  const type = keys.text(`${prefix}.rope.scaling.type`, "none");
  if (type !== "none") return { rope_type: type, factor: keys.positive(`${prefix}.rope.scaling.factor`, 1) };
  const linear = keys.positive(`${prefix}.rope.scale_linear`, 1);
  return linear === 1 ? null : { rope_type: "linear", factor: linear };
}

/** Of a head: its key length, else the dimensions that are rotated, else its share of the hidden size. Without a count of rotated
 *  dimensions all of them are (llama.cpp's defaults). */
function headDimOf(keys: Fields, prefix: string, hiddenSize: number, headCount: number): number {
  const rotatedKey = `${prefix}.rope.dimension_count`;
  const isGiven = keys.raw(rotatedKey) !== undefined;
  const share = hiddenSize / headCount;
  const headDim = keys.count(`${prefix}.attention.key_length`, isGiven ? keys.count(rotatedKey) : share);
  const rotated = keys.count(rotatedKey, headDim);
  if (rotated !== headDim)
    keys.problem(rotatedKey, `rotating ${rotated} of ${headDim} dimensions is not supported`);
  if (keys.count(`${prefix}.attention.value_length`, headDim) !== headDim)
    keys.problem(
      `${prefix}.attention.value_length`,
      `differs from the key length ${headDim}, which is not supported`,
    );
  return headDim;
}

/** The keys of config.json that llama and its relatives share, `head_dim` always among them. */
export async function llamaLikeConfig(gguf: GgufFile, keys: Fields, prefix: string): Promise<HfConfig> {
  const hiddenSize = keys.count(`${prefix}.embedding_length`);
  const headCount = keys.count(`${prefix}.attention.head_count`);
  const headDim = headDimOf(keys, prefix, hiddenSize, headCount);
  const theta = keys.positive(`${prefix}.rope.freq_base`, 10_000);
  if (keys.raw(`${prefix}.expert_count`) !== undefined && keys.raw(`${prefix}.expert_count`) !== 0)
    keys.problem(`${prefix}.expert_count`, "mixtures of experts are not supported");
  return {
    head_dim: headDim,
    hidden_act: "silu",
    hidden_size: hiddenSize,
    intermediate_size: keys.count(`${prefix}.feed_forward_length`),
    max_position_embeddings: keys.count(`${prefix}.context_length`),
    num_attention_heads: headCount,
    num_hidden_layers: keys.count(`${prefix}.block_count`),
    num_key_value_heads: keys.count(`${prefix}.attention.head_count_kv`, headCount),
    rms_norm_eps: keys.positive(`${prefix}.attention.layer_norm_rms_epsilon`),
    rope_theta: theta,
    rope_scaling: (await ropeScalingOfFreqs(gguf, theta, headDim)) ?? ropeScalingOfKeys(keys, prefix),
  };
}

/** Keys of a rope scaling; Llama 3.1's is a tensor of divisors instead. */
function ropeKeys({ theta, scaling }: RopeConfig): Record<string, GgufTyped> {
  const linear =
    scaling.kind === "linear"
      ? { "rope.scaling.type": text("linear"), "rope.scaling.factor": f32(scaling.factor) }
      : {};
  return { "rope.freq_base": f32(theta), ...linear };
}

/** The keys that llama and its relatives share. llama.cpp knows no sliding window for them: the context is cut to it, within
 *  which it makes no difference. @throws UnsupportedError for another activation than `activation` */
export function llamaLikeKeys(
  config: ModelConfig,
  activation: ModelConfig["activation"] = "silu",
): Record<string, GgufTyped> {
  requireActivation(config, activation);
  const { maxPositions, slidingWindow, headDim } = config;
  return {
    vocab_size: u32(config.vocabSize),
    context_length: u32(Math.min(maxPositions, slidingWindow ?? maxPositions)),
    embedding_length: u32(config.hiddenSize),
    block_count: u32(config.layerCount),
    feed_forward_length: u32(config.mlpSize),
    "attention.head_count": u32(config.headCount),
    "attention.head_count_kv": u32(config.kvHeadCount),
    "attention.key_length": u32(headDim),
    "attention.value_length": u32(headDim),
    "attention.layer_norm_rms_epsilon": f32(config.normEpsilon),
    "rope.dimension_count": u32(headDim),
    ...(config.rope ? ropeKeys(config.rope) : {}),
  };
}
