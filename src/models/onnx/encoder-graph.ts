import { knownType, ONNX_DIMS, ONNX_NAMES } from "../../formats/transformers-js/layout.ts";
import { headAttention, splitHeads } from "../../graph/ops/attention.ts";
import { cast } from "../../graph/ops/cast.ts";
import { mul, sub } from "../../graph/ops/index.ts";
import { int32s, int64Scalar, unsqueeze } from "../../graph/ops/reduce.ts";
import { apply, input, scalarConstant, type Value } from "../../graph/value.ts";
import { type AttentionStrategy, baseContext } from "../base-context.ts";
import type { ExportedModel } from "./decoder-graph.ts";

const { rows: B, length: T } = ONNX_DIMS;

/** Attention to every token that the mask int32 [B, T] has. */
function maskedAttention({ config }: ExportedModel, mask: Value): AttentionStrategy {
  const shape = [B, 1, 1, T];
  const there = cast(unsqueeze(mask, [1, 2], shape), "bool");
  const additive = apply(
    "Where",
    [there, scalarConstant(0), scalarConstant(-1e30)],
    shape,
    {},
    null,
    "float32",
  );
  return (_path, q, k, v) =>
    headAttention(q, { keys: splitHeads(k, config), values: splitHeads(v, config) }, additive, config);
}

/** Positions count the tokens that the mask has; those of padding are 0. int32 [B, T]. */
function positionsOf(mask: Value): Value {
  const counted = apply("CumSum", [mask, int64Scalar(1)], mask.shape, {}, null);
  return mul(sub(counted, int32s([1])), mask);
}

/** An encoder as transformers.js runs it, for vectors and, where it has a head, for classes: the last hidden state [B, T, d] and logits
 *  [B, n] from ids and mask (int64), and of bert from token types. */
export function encoderGraph(model: ExportedModel, hasHead: boolean): Record<string, Value> {
  const { config, family, modules, source, lookup, positionCount } = model;
  const ids = input(ONNX_NAMES.ids, "int64", [B, T]);
  const mask = cast(input(ONNX_NAMES.mask, "int64", [B, T]), "int32");
  const types = knownType(source.hfConfig.model_type).hasTypes
    ? { types: input(ONNX_NAMES.types, "int64", [B, T]) }
    : {};
  const ctx = baseContext(modules, lookup, maskedAttention(model, mask));
  const tokens = { ids, positions: positionsOf(mask), ...types };
  const hidden = family.forward(config, ctx, tokens, positionCount);
  const outputs = { [ONNX_NAMES.hidden]: hidden };
  if (!hasHead) return outputs;
  return { ...outputs, [ONNX_NAMES.logits]: family.logits(ctx, firstToken(hidden)) };
}

/** [B, T, d] → [B, d]. */
function firstToken(hidden: Value): Value {
  const [rows, , width] = hidden.shape as [string, string, number];
  return apply("Gather", [hidden, int64Scalar(0)], [rows, width], { axis: 1 }, null);
}
