import type { Fields } from "../fields.ts";
import type { Architecture, Naming } from "./architecture.ts";
import { decoderNames, llamaParser } from "./llama-like.ts";
import { llamaLikeConfig, llamaLikeKeys } from "./llama-like-gguf.ts";

const NAMES: Naming = decoderNames([
  ["attention_norm", "input_layernorm", "attn_norm"],
  ["attention.qkv", "self_attn.qkv_proj", "attn_qkv"],
  ["attention.o", "self_attn.o_proj", "attn_output"],
  ["mlp_norm", "post_attention_layernorm", "ffn_norm"],
  ["mlp.gate_up", "mlp.gate_up_proj", "ffn_up"],
  ["mlp.down", "mlp.down_proj", "ffn_down"],
]);

function slidingWindow(config: Fields): number | null {
  return config.raw("sliding_window") === undefined ? null : config.count("sliding_window");
}

/** 0 means none. */
function windowOfKeys(keys: Fields, key: string): number | null {
  return (keys.raw(key) ?? 0) === 0 ? null : keys.count(key);
}

/** Phi-3, and Phi-4 but for its small variant, which rotates a part of each head. */
export const phi3: Architecture = {
  name: "Phi3ForCausalLM",
  modelType: "phi3",
  family: "phi3",
  names: NAMES,
  parse: llamaParser({
    biases: () => ({ qkvBias: false, outputBias: false, mlpBias: false }),
    slidingWindow,
  }),
  // llama.cpp has no sliding window for it, so that `llamaLikeKeys` cuts the context as for the others.
  gguf: {
    name: "phi3",
    permuted: false,
    preTokenizer: "default",
    configOf: async (gguf, keys, prefix) => ({
      ...(await llamaLikeConfig(gguf, keys, prefix)),
      sliding_window: windowOfKeys(keys, `${prefix}.attention.sliding_window`),
    }),
    keysOf: llamaLikeKeys,
  },
};
