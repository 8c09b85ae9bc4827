import { isObject } from "../../io/json.ts";
import type { Fields } from "../fields.ts";
import type { Classifier, EncoderConfig } from "../model.ts";
import { activationOf, type HfConfig, LAYER_LIMIT, type NameRow, type ParsedConfig } from "./architecture.ts";

/** Rows of bert's modules and its relatives', inside the base model `prefix` ("bert."). */
export function bertRows(prefix: string): NameRow[] {
  const layer = (ours: string, hf: string, gguf: string): NameRow => ({
    ours: `layers.{i}.${ours}`,
    hf: `${prefix}encoder.layer.{i}.${hf}`,
    gguf: `blk.{i}.${gguf}`,
  });
  return [
    { ours: "embed", hf: `${prefix}embeddings.word_embeddings`, gguf: "token_embd" },
    { ours: "positions", hf: `${prefix}embeddings.position_embeddings`, gguf: "position_embd" },
    { ours: "token_types", hf: `${prefix}embeddings.token_type_embeddings`, gguf: "token_types" },
    { ours: "embed_norm", hf: `${prefix}embeddings.LayerNorm`, gguf: "token_embd_norm" },
    layer("attention.q", "attention.self.query", "attn_q"),
    layer("attention.k", "attention.self.key", "attn_k"),
    layer("attention.v", "attention.self.value", "attn_v"),
    layer("attention.o", "attention.output.dense", "attn_output"),
    layer("attention_norm", "attention.output.LayerNorm", "attn_output_norm"),
    layer("mlp.up", "intermediate.dense", "ffn_up"),
    layer("mlp.down", "output.dense", "ffn_down"),
    layer("mlp_norm", "output.LayerNorm", "layer_output_norm"),
  ];
}

/** Names of the labels in the order of their ids; transformers' own where the config names none. */
function labelsOf(config: Fields): string[] {
  const named = config.raw("id2label");
  if (named === undefined)
    return Array.from({ length: config.count("num_labels", 2) }, (_, i) => `LABEL_${i}`);
  const labels = isObject(named) ? Object.keys(named).map((_, i) => named[String(i)]) : [];
  if (labels.length > 0 && labels.every((label) => typeof label === "string")) return labels as string[];
  config.problem("id2label", "expected names under the keys 0, 1, …");
  return ["LABEL_0"];
}

/** As transformers decides: by `problem_type`, else a value where there is one output. */
function classifierOf(config: Fields): Classifier {
  const labels = labelsOf(config);
  const problem =
    config.raw("problem_type") ?? (labels.length === 1 ? "regression" : "single_label_classification");
  if (problem !== "regression" && problem !== "single_label_classification")
    config.problem("problem_type", `${JSON.stringify(problem)} is not supported`);
  if (problem === "regression" && labels.length > 1)
    config.problem("problem_type", `regression with ${labels.length} outputs is not supported, expected 1`);
  return { labels, kind: problem === "regression" ? "value" : "classes" };
}

/** Variants that some configs switch on and we do not have. */
function checkVariants(config: Fields, hiddenSize: number, headCount: number): void {
  if (hiddenSize % headCount !== 0)
    config.problem("num_attention_heads", `${headCount} does not divide hidden_size ${hiddenSize}`);
  const positions = config.text("position_embedding_type", "absolute");
  if (positions !== "absolute")
    config.problem("position_embedding_type", `"${positions}" is not supported, expected "absolute"`);
  for (const key of ["is_decoder", "add_cross_attention"])
    if (config.flag(key, false)) config.problem(key, "true is not supported");
}

/** Reader of a config.json of bert's kind. `firstPosition`: of the padding id, the row of the first token's position. */
export function bertParser(firstPosition: (config: Fields) => number): (config: Fields) => ParsedConfig {
  return (config) => {
    const hiddenSize = config.count("hidden_size");
    const headCount = config.count("num_attention_heads");
    checkVariants(config, hiddenSize, headCount);
    const first = firstPosition(config);
    const encoder: EncoderConfig = {
      tokenTypeCount: config.count("type_vocab_size", 2),
      firstPosition: first,
      initializerRange: config.positive("initializer_range", 0.02),
      classifier: classifierOf(config),
    };
    return {
      vocabSize: config.count("vocab_size"),
      hiddenSize,
      layerCount: config.count("num_hidden_layers", undefined, LAYER_LIMIT),
      headCount,
      kvHeadCount: headCount,
      headDim: hiddenSize / headCount,
      mlpSize: config.count("intermediate_size"),
      maxPositions: config.count("max_position_embeddings") - first,
      normEpsilon: config.positive("layer_norm_eps", 1e-12),
      activation: activationOf(config, "hidden_act", "gelu"),
      rope: null,
      tiedEmbeddings: false,
      qkvBias: true,
      outputBias: true,
      mlpBias: true,
      slidingWindow: null,
      encoder,
    };
  };
}

/** Gives a config.json the head of `name` with these labels. */
export function classifierConfig(name: string): (config: HfConfig, classifier: Classifier) => HfConfig {
  return ({ num_labels: _, ...config }, { labels, kind }) => ({
    ...config,
    architectures: [name],
    id2label: Object.fromEntries(labels.map((label, i) => [String(i), label])),
    label2id: Object.fromEntries(labels.map((label, i) => [label, i])),
    problem_type: kind === "value" ? "regression" : "single_label_classification",
  });
}
