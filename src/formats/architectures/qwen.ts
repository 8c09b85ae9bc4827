import type { Fields } from "../fields.ts";
import type { Architecture } from "./architecture.ts";
import { attentionBiases, llamaNames, llamaParser } from "./llama-like.ts";
import { llamaLikeConfig, llamaLikeKeys } from "./llama-like-gguf.ts";

/** Qwen's window covers the layers from `max_window_layers` on; one window for all layers is what we have. */
function slidingWindow(config: Fields, layerCount: number): number | null {
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

/** Qwen 2 and 2.5. */
export const qwen2: Architecture = {
  name: "Qwen2ForCausalLM",
  modelType: "qwen2",
  peftTargets: ["q_proj", "v_proj"],
  family: "qwen2",
  names: llamaNames,
  parse: llamaParser({
    biases: () => ({ qkvBias: true, outputBias: false, mlpBias: false }),
    slidingWindow,
  }),
  gguf: {
    name: "qwen2",
    permuted: false,
    preTokenizer: "qwen2",
    configOf: llamaLikeConfig,
    keysOf: llamaLikeKeys,
  },
};

/** Qwen 3. */
export const qwen3: Architecture = {
  name: "Qwen3ForCausalLM",
  modelType: "qwen3",
  peftTargets: ["q_proj", "v_proj"],
  family: "qwen3",
  names: llamaNames,
  parse: llamaParser({ biases: attentionBiases, slidingWindow, defaultHeadDim: 128 }),
  gguf: {
    name: "qwen3",
    permuted: false,
    preTokenizer: "qwen2",
    keysOf: llamaLikeKeys,
    configOf: async (gguf, keys, prefix) => ({
      ...(await llamaLikeConfig(gguf, keys, prefix)),
      attention_bias: gguf.entries.has("blk.0.attn_q.bias"),
    }),
  },
};
