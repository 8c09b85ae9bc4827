import type { ModelConfig } from "../model.ts";
import { type GgufTensorType, ggufTypeOf } from "./quantize.ts";

/** Kinds of files by the type that most of their weights have; of the last three some have more bits. */
export type GgufFileType = "F32" | "F16" | "BF16" | "Q8_0" | "Q4_0" | "Q4_K_M" | "Q5_K_M" | "Q6_K";

/** A kind of file. */
interface FileTypeFacts {
  /** `general.file_type` (llama.h, llama_ftype). */
  readonly id: number;
  readonly isQuantized: boolean;
  /** Type of a matrix. */
  readonly typeOf: (weight: MixedWeight) => GgufTensorType;
}

/** What a mix goes by. */
export interface MixedWeight {
  /** In GGUF: `blk.0.attn_v.weight`. */
  readonly name: string;
  /** [rows, columns] */
  readonly shape: readonly number[];
  /** It gives the logits: the output layer, or the embedding that is one. */
  readonly isOutput: boolean;
  readonly config: ModelConfig;
}

const LAYER = /^blk\.(\d+)\./;

/** The first and last eighth of the layers and every third between (use_more_bits). */
function hasMoreBits({ name, config: { layerCount } }: MixedWeight): boolean {
  const layer = Number(LAYER.exec(name)?.[1]);
  const eighth = Math.floor(layerCount / 8);
  return layer < eighth || layer >= Math.floor((7 * layerCount) / 8) || (layer - eighth) % 3 === 2;
}

/** Models of 70 billion parameters, whose values are small beside the queries. */
function isLarge({ config: { family, layerCount, headCount, kvHeadCount } }: MixedWeight): boolean {
  return layerCount === 80 && (family === "qwen2" || (family === "llama" && headCount !== kvHeadCount));
}

/** What llama.cpp takes where rows do not fill blocks of 256; F16 where they do not fill those of 32. */
const SMALLER: Partial<Readonly<Record<GgufTensorType, GgufTensorType>>> = {
  Q4_K: "Q5_0",
  Q5_K: "Q5_1",
  Q6_K: "Q8_0",
};

function fitting(type: GgufTensorType, columns: number): GgufTensorType {
  if (columns % ggufTypeOf(type).blockSize === 0) return type;
  const smaller = SMALLER[type];
  return smaller !== undefined && columns % ggufTypeOf(smaller).blockSize === 0 ? smaller : "F16";
}

/** llama.cpp's mixes for a dense model without an importance matrix (llama-quant.cpp, llama_tensor_get_type). */
function mixed(base: GgufTensorType, joined: GgufTensorType): FileTypeFacts["typeOf"] {
  return (weight) => {
    const { name, isOutput } = weight;
    const columns = weight.shape.at(-1) as number;
    if (isOutput) return fitting(columns % ggufTypeOf(base).blockSize === 0 ? "Q6_K" : "Q8_0", columns);
    if (name.endsWith(".attn_qkv.weight")) return fitting(joined, columns);
    const isValue = name.endsWith(".attn_v.weight");
    const mayHaveMore = base !== "Q6_K" && (isValue || name.endsWith(".ffn_down.weight"));
    const type = mayHaveMore && hasMoreBits(weight) ? "Q6_K" : base;
    return fitting(isValue && type === "Q4_K" && isLarge(weight) ? "Q5_K" : type, columns);
  };
}

function plain(type: GgufTensorType, ofOutput: GgufTensorType = type): FileTypeFacts["typeOf"] {
  return ({ shape, isOutput }) => fitting(isOutput ? ofOutput : type, shape.at(-1) as number);
}

/** One line per kind. The output layer loses most by 4 bits. */
export const FILE_TYPES: Readonly<Record<GgufFileType, FileTypeFacts>> = {
  F32: { id: 0, isQuantized: false, typeOf: plain("F32") },
  F16: { id: 1, isQuantized: false, typeOf: plain("F16") },
  BF16: { id: 32, isQuantized: false, typeOf: plain("BF16") },
  Q8_0: { id: 7, isQuantized: true, typeOf: plain("Q8_0") },
  Q4_0: { id: 2, isQuantized: true, typeOf: plain("Q4_0", "Q8_0") },
  Q4_K_M: { id: 15, isQuantized: true, typeOf: mixed("Q4_K", "Q5_K") },
  Q5_K_M: { id: 17, isQuantized: true, typeOf: mixed("Q5_K", "Q6_K") },
  Q6_K: { id: 18, isQuantized: true, typeOf: mixed("Q6_K", "Q6_K") },
};
