import type { Fields } from "../fields.ts";
import type { Architecture } from "./architecture.ts";
import { attentionBiases, llamaNames, llamaParser } from "./llama-like.ts";
import { llamaLikeConfig, llamaLikeKeys } from "./llama-like-gguf.ts";

/** A missing key means transformers' default of 4096, an explicit null none. */
function mistralWindow(config: Fields): number | null {
  return config.isNull("sliding_window") ? null : config.count("sliding_window", 4096);
}

/** Llama 1-3, SmolLM2, TinyLlama. */
export const llama: Architecture = {
  name: "LlamaForCausalLM",
  modelType: "llama",
  peftTargets: ["q_proj", "v_proj"],
  family: "llama",
  names: llamaNames,
  parse: llamaParser({
    biases: (config) => ({ ...attentionBiases(config), mlpBias: config.flag("mlp_bias", false) }),
    slidingWindow: () => null,
  }),
  allBiases: { attention_bias: true, mlp_bias: true },
  gguf: {
    name: "llama",
    permuted: true,
    preTokenizer: "gpt-2",
    keysOf: llamaLikeKeys,
    configOf: async (gguf, keys, prefix) => ({
      ...(await llamaLikeConfig(gguf, keys, prefix)),
      attention_bias: gguf.entries.has("blk.0.attn_q.bias"),
      mlp_bias: gguf.entries.has("blk.0.ffn_up.bias"),
    }),
  },
};

/** Mistral, which is llama in GGUF files. */
export const mistral: Architecture = {
  name: "MistralForCausalLM",
  modelType: "mistral",
  peftTargets: ["q_proj", "v_proj"],
  family: "llama",
  names: llamaNames,
  parse: llamaParser({
    biases: () => ({ qkvBias: false, outputBias: false, mlpBias: false }),
    slidingWindow: mistralWindow,
  }),
  gguf: null,
};
