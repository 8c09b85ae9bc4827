import type { PackedBatch } from "../data/batch.ts";
import { packSequences } from "../data/sequence-batch.ts";
import { foldRows } from "../graph/ops/index.ts";
import { input, type Value } from "../graph/value.ts";
import { batchAttention } from "../models/base-context.ts";
import type { ForwardContext } from "../models/context.ts";
import {
  type AdaptedModel,
  adaptedContext,
  adaptedGraph,
  forwardAdapted,
} from "../peft/use/adapted-model.ts";
import { ints, type Tensor } from "../tensor/tensor.ts";
import type { EncodedSequence } from "../text/sequence.ts";

/** A text as an encoder takes it. */
export type WholeSequence = Pick<EncodedSequence, "ids" | "types">;

/** The graph of a batch of whole sequences, packed as `packedSequences` says: `build` makes its outputs of the hidden states [R·T, d]. θ
 *  is an input where something is adapted. */
export function sequenceGraph(
  model: AdaptedModel,
  build: (ctx: ForwardContext, hidden: Value) => Record<string, Value>,
): Record<string, Value> {
  const [ids, positions, ends, types] = ["tokens", "positions", "ends", "types"].map((name) =>
    input(name, "int32", ["R", "T"]),
  ) as [Value, Value, Value, Value];
  const columns = input("columns", "int32", ["T"]);
  return adaptedGraph(model, { ids }, (inputs) => {
    const ctx = adaptedContext(model, inputs, batchAttention(model.config, { columns, ends, positions }));
    return build(ctx, foldRows(forwardAdapted(model, ctx, { ids, positions, types }, model.positionCount)));
  });
}

/** Sequences in rows, whose edges are their first tokens, labelled by their index; and the feeds of `sequenceGraph`. */
export function packedSequences(sequences: readonly WholeSequence[]): {
  readonly batch: PackedBatch;
  readonly feeds: Record<string, Tensor>;
} {
  const batch = packSequences(
    sequences.map(({ ids, types }, index) => ({
      ids: Int32Array.from(ids),
      types: Uint8Array.from(types),
      isLabel: new Uint8Array(ids.length),
      target: index, // edges are in the order of packing
      index,
    })),
  );
  const shape = [batch.rows, batch.length];
  return {
    batch,
    feeds: {
      tokens: ints(batch.tokens, shape),
      positions: ints(batch.positions, shape),
      ends: ints(batch.ends, shape),
      types: ints(batch.types as Int32Array, shape),
    },
  };
}
