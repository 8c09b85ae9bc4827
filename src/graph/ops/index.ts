export { gelu, geluTanh, relu, sigmoid, sign, silu, softmax, tanh } from "./activation.ts";
export { add, div, exp, log, min, mul, neg, scale, sqrt, square, sub } from "./arithmetic.ts";
export {
  type AttentionSizes,
  attention,
  groupMask,
  openColumns,
  prefixColumns,
  type RotaryTables,
  rotary,
  rotaryConstants,
  sequenceMask,
  type TrieTokens,
  trieMask,
} from "./attention.ts";
export { type BlockMatrix, type BlockProducts, blockMatrix, FORMED_ROWS } from "./blocks.ts";
export { detach } from "./detach.ts";
export { dropout } from "./dropout.ts";
export { gather } from "./gather.ts";
export { crossEntropy, labelLogProbability, logSoftmax, topIsLabel, total } from "./loss.ts";
export { foldRows, linear, type MatmulOptions, matmul, stackRows } from "./matrix.ts";
export { layerNorm, rmsNorm } from "./normalization.ts";
export {
  blockAttention,
  blockSizes,
  byHead,
  freshMask,
  type KeyBlock,
  type PastTokens,
  pastMask,
} from "./past-attention.ts";
export { mean, sum, sumAll, sumTo } from "./reduce.ts";
export {
  concat,
  expandLike,
  ones,
  repeatDim,
  reshape,
  reshapeLike,
  slice,
  split,
  splitEvenly,
  transpose,
  zeros,
} from "./shape.ts";
export { behindStem, type Stem, stemMask, stemOf, stemRows } from "./stem.ts";
