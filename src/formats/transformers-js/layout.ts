import { UnsupportedError } from "../../errors.ts";

// What transformers.js looks for in a model's folder, read from its source (4.3.2): src/configs.js, src/models/registry.js,
// src/models/modeling_utils.js, src/models/session.js, src/utils/dtypes.js, src/utils/model-loader.js.

/** Precisions by their names there (`dtype`). */
export type OnnxVariant = "fp32" | "fp16" | "q8" | "q4" | "q4f16";

/** Folder of the graphs in a model's folder. */
export const ONNX_FOLDER = "onnx";

/** The graph of each precision. */
export const ONNX_FILES: Readonly<Record<OnnxVariant, string>> = {
  fp32: "model.onnx",
  fp16: "model_fp16.onnx",
  q8: "model_quantized.onnx",
  q4: "model_q4.onnx",
  q4f16: "model_q4f16.onnx",
};

/** The n-th file of a graph's weights. */
export function dataFileName(graphFile: string, index: number): string {
  return `${graphFile}_data${index === 0 ? "" : `_${index}`}`;
}

/** Inputs and outputs of a graph. */
export const ONNX_NAMES = {
  ids: "input_ids",
  mask: "attention_mask",
  positions: "position_ids",
  types: "token_type_ids",
  /** How many of the last tokens have logits, a scalar; 0: all. */
  logitsToKeep: "num_logits_to_keep",
  logits: "logits",
  hidden: "last_hidden_state",
  past: (kind: "key" | "value", layer: number): string => `past_key_values.${layer}.${kind}`,
  present: (kind: "key" | "value", layer: number): string => `present.${layer}.${kind}`,
} as const;

/** Dimensions: of a cache that is not there yet, those of other names are 0. */
export const ONNX_DIMS = {
  rows: "batch_size",
  length: "sequence_length",
  past: "past_sequence_length",
} as const;

interface KnownType {
  /** What positions count from. */
  readonly firstPosition: number;
  /** Graphs get `token_type_ids`. */
  readonly hasTypes?: boolean;
}

/** Models of ours that it knows, by `model_type`. */
const KNOWN_TYPES: Readonly<Record<string, KnownType>> = {
  llama: { firstPosition: 0 },
  mistral: { firstPosition: 0 },
  qwen2: { firstPosition: 0 },
  qwen3: { firstPosition: 0 },
  gemma3_text: { firstPosition: 1 },
  phi3: { firstPosition: 0 },
  gpt2: { firstPosition: 0 },
  bert: { firstPosition: 0, hasTypes: true },
  roberta: { firstPosition: 0 },
};

/** What it knows of a kind of model. @throws UnsupportedError for a `model_type` that it does not know, listing the others */
export function knownType(modelType: unknown): KnownType {
  const known = typeof modelType === "string" && Object.hasOwn(KNOWN_TYPES, modelType);
  if (known) return KNOWN_TYPES[modelType] as KnownType;
  throw new UnsupportedError(
    `models of the type ${JSON.stringify(modelType ?? null)} cannot be written for transformers.js; known: ` +
      Object.keys(KNOWN_TYPES).join(", "),
  );
}
