import type { Fields } from "../fields.ts";
import { ropeOf } from "../hf/rope.ts";
import type { ModelConfig, RopeConfig } from "../model.ts";
import { activationOf, LAYER_LIMIT, type NameRow, type Naming, type ParsedConfig } from "./architecture.ts";

/** Rows of a layer's modules: our name, transformers', GGUF's. */
export function layerRows(names: readonly (readonly [ours: string, hf: string, gguf: string])[]): NameRow[] {
  return names.map(([ours, hf, gguf]) => ({
    ours: `layers.{i}.${ours}`,
    hf: `model.layers.{i}.${hf}`,
    gguf: `blk.{i}.${gguf}`,
  }));
}

/** Names of a decoder that is llama's around its layers; `layers`: rows of the modules of one. */
export function decoderNames(layers: readonly (readonly [ours: string, hf: string, gguf: string])[]): Naming {
  return {
    basePrefix: "model.",
    ignored: /(^|\.)rotary_emb\.inv_freq$/,
    rows: [
      { ours: "embed", hf: "model.embed_tokens", gguf: "token_embd" },
      ...layerRows(layers),
      { ours: "final_norm", hf: "model.norm", gguf: "output_norm" },
      { ours: "head", hf: "lm_head", gguf: "output" },
    ],
  };
}

/** Names of the modules of llama and its relatives. */
export const llamaNames: Naming = decoderNames([
  ["attention_norm", "input_layernorm", "attn_norm"],
  ["attention.q", "self_attn.q_proj", "attn_q"],
  ["attention.k", "self_attn.k_proj", "attn_k"],
  ["attention.v", "self_attn.v_proj", "attn_v"],
  ["attention.o", "self_attn.o_proj", "attn_output"],
  ["attention.q_norm", "self_attn.q_norm", "attn_q_norm"],
  ["attention.k_norm", "self_attn.k_norm", "attn_k_norm"],
  ["mlp_norm", "post_attention_layernorm", "ffn_norm"],
  ["mlp.gate", "mlp.gate_proj", "ffn_gate"],
  ["mlp.up", "mlp.up_proj", "ffn_up"],
  ["mlp.down", "mlp.down_proj", "ffn_down"],
]);

/** What differs between llama and its relatives. */
export interface LlamaTraits {
  /** Biases of q, k and v, of the attention output and of the MLP. */
  readonly biases: (config: Fields) => Pick<ModelConfig, "qkvBias" | "outputBias" | "mlpBias">;
  readonly slidingWindow: (config: Fields, layerCount: number) => number | null;
  /** head_dim where the config gives none; hidden_size / num_attention_heads where this says nothing. */
  readonly defaultHeadDim?: number;
  /** Rotary embedding; as `ropeOf` reads it where this is missing. */
  readonly rope?: (config: Fields, maxPositions: number) => RopeConfig;
  /** Key and default of the activation; `hidden_act` and SiLU where this is missing. */
  readonly activation?: readonly [key: string, fallback: string];
  /** Embeddings are tied where the config does not say. */
  readonly tied?: boolean;
}

/** `attention_bias` of config.json. */
export function attentionBiases(config: Fields): Pick<ModelConfig, "qkvBias" | "outputBias" | "mlpBias"> {
  const bias = config.flag("attention_bias", false);
  return { qkvBias: bias, outputBias: bias, mlpBias: false };
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

/** Reader of a config.json of that kind. */
export function llamaParser(traits: LlamaTraits): (config: Fields) => ParsedConfig {
  const { rope = ropeOf, activation = ["hidden_act", "silu"], tied = false } = traits;
  return (config) => {
    const hiddenSize = config.count("hidden_size");
    const headCount = config.count("num_attention_heads");
    const kvHeadCount = config.count("num_key_value_heads", headCount);
    const layerCount = config.count("num_hidden_layers", undefined, LAYER_LIMIT);
    const maxPositions = config.count("max_position_embeddings");
    const headDim =
      config.raw("head_dim") === undefined
        ? (traits.defaultHeadDim ?? hiddenSize / headCount)
        : config.count("head_dim");
    checkHeads(config, headCount, kvHeadCount, headDim);
    return {
      vocabSize: config.count("vocab_size"),
      hiddenSize,
      layerCount,
      headCount,
      kvHeadCount,
      headDim,
      mlpSize: config.count("intermediate_size"),
      maxPositions,
      normEpsilon: config.positive("rms_norm_eps", 1e-6),
      activation: activationOf(config, ...activation),
      rope: rope(config, maxPositions),
      tiedEmbeddings: config.flag("tie_word_embeddings", tied),
      ...traits.biases(config),
      slidingWindow: traits.slidingWindow(config, layerCount),
    };
  };
}
