import { UnsupportedError } from "../errors.ts";
import { type Fields, fields } from "./fields.ts";
import type { GgufFile } from "./gguf.ts";
import { ropeScalingOfFreqs } from "./gguf-rope.ts";
import { tokenIdOf } from "./gguf-vocabulary.ts";

type HfConfig = Record<string, unknown>;

interface GgufArchitecture {
  /** Class and type in transformers. */
  readonly architecture: string;
  readonly modelType: string;
  /** Q and K are stored with rows in interleaved order (`gguf-permute.ts`). */
  readonly permuted: boolean;
  readonly configOf: (gguf: GgufFile, keys: Fields, prefix: string) => HfConfig | Promise<HfConfig>;
}

/** `general.architecture` → how to read it. A new one is one line. */
const ARCHITECTURES: Readonly<Record<string, GgufArchitecture>> = {
  llama: { architecture: "LlamaForCausalLM", modelType: "llama", permuted: true, configOf: llamaConfig },
  qwen2: { architecture: "Qwen2ForCausalLM", modelType: "qwen2", permuted: false, configOf: llamaLikeConfig },
  qwen3: { architecture: "Qwen3ForCausalLM", modelType: "qwen3", permuted: false, configOf: qwen3Config },
  gpt2: { architecture: "GPT2LMHeadModel", modelType: "gpt2", permuted: false, configOf: gpt2Config },
};

/** Row of the table for a file. @throws UnsupportedError for an unknown architecture, listing the known ones. */
export function ggufArchitecture(gguf: GgufFile): GgufArchitecture {
  const name = gguf.values.get("general.architecture");
  const known =
    typeof name === "string" && Object.hasOwn(ARCHITECTURES, name) ? ARCHITECTURES[name] : undefined;
  if (known) return known;
  throw new UnsupportedError(
    `${gguf.path}: architecture ${JSON.stringify(name ?? null)} is not supported; known: ${Object.keys(ARCHITECTURES).join(", ")}`,
  );
}

/** Rows of the embedding: the vocabulary, padding included. */
function vocabSizeOf(gguf: GgufFile, keys: Fields): number {
  const size = gguf.entries.get("token_embd.weight")?.shape[0];
  if (size === undefined) keys.problem("token_embd.weight", "is missing, expected the embedding");
  return size ?? 1;
}

/** `rope.scaling.*` of the keys in transformers' terms; unknown types are passed on to be refused by name there. */
function ropeScalingOfKeys(keys: Fields, prefix: string): HfConfig | null {
  const type = keys.text(`${prefix}.rope.scaling.type`, "none");
  if (type !== "none") return { rope_type: type, factor: keys.positive(`${prefix}.rope.scaling.factor`, 1) };
  const linear = keys.positive(`${prefix}.rope.scale_linear`, 1);
  return linear === 1 ? null : { rope_type: "linear", factor: linear };
}

function headDimOf(keys: Fields, prefix: string, hiddenSize: number, headCount: number): number {
  const rotated = keys.count(`${prefix}.rope.dimension_count`, hiddenSize / headCount);
  const headDim = keys.count(`${prefix}.attention.key_length`, rotated);
  if (rotated !== headDim)
    keys.problem(
      `${prefix}.rope.dimension_count`,
      `rotating ${rotated} of ${headDim} dimensions is not supported`,
    );
  if (keys.count(`${prefix}.attention.value_length`, headDim) !== headDim)
    keys.problem(
      `${prefix}.attention.value_length`,
      `differs from the key length ${headDim}, which is not supported`,
    );
  return headDim;
}

async function llamaLikeConfig(gguf: GgufFile, keys: Fields, prefix: string): Promise<HfConfig> {
  const hiddenSize = keys.count(`${prefix}.embedding_length`);
  const headCount = keys.count(`${prefix}.attention.head_count`);
  const headDim = headDimOf(keys, prefix, hiddenSize, headCount);
  const theta = keys.positive(`${prefix}.rope.freq_base`, 10_000);
  if (keys.raw(`${prefix}.expert_count`) !== undefined && keys.raw(`${prefix}.expert_count`) !== 0)
    keys.problem(`${prefix}.expert_count`, "mixtures of experts are not supported");
  return {
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
    ...(headDim === hiddenSize / headCount ? {} : { head_dim: headDim }),
  };
}

async function llamaConfig(gguf: GgufFile, keys: Fields, prefix: string): Promise<HfConfig> {
  return {
    ...(await llamaLikeConfig(gguf, keys, prefix)),
    attention_bias: gguf.entries.has("blk.0.attn_q.bias"),
    mlp_bias: gguf.entries.has("blk.0.ffn_up.bias"),
  };
}

async function qwen3Config(gguf: GgufFile, keys: Fields, prefix: string): Promise<HfConfig> {
  const config = await llamaLikeConfig(gguf, keys, prefix);
  // Qwen3's default head_dim is 128, whatever the other sizes are.
  const headDim = config.head_dim ?? (config.hidden_size as number) / (config.num_attention_heads as number);
  return { ...config, head_dim: headDim, attention_bias: gguf.entries.has("blk.0.attn_q.bias") };
}

function gpt2Config(_gguf: GgufFile, keys: Fields, prefix: string): HfConfig {
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

/** The config.json that transformers would have for a GGUF model.
 *  @throws UnsupportedError for an unknown architecture; InputError naming every missing or wrong key. */
export async function rebuildHfConfig(gguf: GgufFile): Promise<HfConfig> {
  const { architecture, modelType, configOf } = ggufArchitecture(gguf);
  const keys = fields(gguf.path, gguf.values);
  const prefix = String(gguf.values.get("general.architecture"));
  const vocabSize = vocabSizeOf(gguf, keys);
  const config = {
    architectures: [architecture],
    bos_token_id: tokenIdOf(gguf, "bos", vocabSize),
    eos_token_id: tokenIdOf(gguf, "eos", vocabSize),
    ...(await configOf(gguf, keys, prefix)),
    model_type: modelType,
    pad_token_id: tokenIdOf(gguf, "padding", vocabSize),
    tie_word_embeddings: !gguf.entries.has("output.weight"),
    torch_dtype: "float32",
    vocab_size: vocabSize,
  };
  keys.finish();
  return config;
}
