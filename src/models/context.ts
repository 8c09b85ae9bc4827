import type { Value } from "../graph/value.ts";

/** Keys and values that stand before those of the sequence: [1, P, kvHeads·headDim] each. */
export interface KeyValuePrefix {
  readonly keys: Value;
  readonly values: Value;
}

/** What a linear module computes with. */
export interface LinearWeights {
  /** [out, in]; the embedding's for an output layer tied to it. */
  readonly weight: Value;
  /** [out] */
  readonly bias: Value | null;
}

/** A part of the forward pass that needs nothing from before it but its inputs: a `block` (attention or MLP, from the stream to
 *  the stream), or a `core` without weights (attention's softmax, activations). */
export type Segment = "block" | "core";

/** Builds a segment, and decides whether its inside is kept for the backward pass. */
export type SegmentStrategy = (
  kind: Segment,
  inputs: readonly Value[],
  build: (...inputs: readonly Value[]) => Value,
) => Value;

/** What a model's forward pass asks for at each place. The base context applies frozen weights; adaptation methods wrap it.
 *  Paths are this project's: `layers.0.attention.q`. */
export interface ForwardContext {
  /** A single weight, e.g. `layers.0.attention_norm.weight`. */
  weight(path: string): Value;
  /** Weight and bias of a linear module, without what methods add to its output. */
  linearWeights(path: string): LinearWeights;
  /** x · Wᵀ (+ bias) of a linear module: [R, T, in] → [R, T, out]. */
  linear(path: string, x: Value): Value;
  /** `linear` of modules with one input, side by side: [R, T, Σ out]; null where that is not one product. */
  joined(paths: readonly string[], x: Value): Value | null;
  /** Rows of an embedding module's weight: ids [R, T] → [R, T, d]. */
  embedding(path: string, ids: Value): Value;
  /** Grouped-query attention of a layer over the tokens it may see, and over `prefix`: q [R, T, heads·headDim] → same. */
  attention(path: string, q: Value, k: Value, v: Value, prefix?: KeyValuePrefix): Value;
  /** What leaves a part before it is used: `embed` (scaled, where the model does), `layers.0.attention`, `layers.0.mlp` (both
   *  before the residual), `layers.0`. */
  output(path: string, x: Value): Value;
  /** build(inputs). */
  readonly segment: SegmentStrategy;
}

/** The tokens of one forward pass. */
export interface TokenInputs {
  /** int32 [R, T]. */
  readonly ids: Value;
  /** int32 [R, T]. */
  readonly positions: Value;
  /** int32 [R, T]: which sequence of a pair a token is of, 0 or 1; missing where all are of the first. Decoders do not ask. */
  readonly types?: Value;
}
