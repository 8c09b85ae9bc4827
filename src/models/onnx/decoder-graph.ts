import { knownType, ONNX_DIMS, ONNX_NAMES } from "../../formats/transformers-js/layout.ts";
import { headAttention, splitHeads } from "../../graph/ops/attention.ts";
import { cast } from "../../graph/ops/cast.ts";
import { concat, groupMask, sub } from "../../graph/ops/index.ts";
import { int32s, int64Scalar, int64s, unsqueeze } from "../../graph/ops/reduce.ts";
import { apply, type Dim, input, scalarConstant, type Value } from "../../graph/value.ts";
import type { BaseModel } from "../base.ts";
import { type AttentionStrategy, baseContext, type WeightLookup, windowOf } from "../base-context.ts";

/** What a graph for others is built from. */
export interface ExportedModel extends Pick<BaseModel, "config" | "family" | "modules" | "source"> {
  readonly lookup: WeightLookup;
  /** Positions that can occur. */
  readonly positionCount: number;
}

const { rows: B, length: T, past: P } = ONNX_DIMS;
/** Tokens of the cache and new ones, as concatenation names them. */
const S = `${P}+${T}`;

/** Size of an axis when the graph runs, int64 []. */
function sizeOf(x: Value, axis: number): Value {
  const shape = apply("Shape", [x], [x.shape.length], {}, null, "int64");
  return apply("Gather", [shape, int64Scalar(axis)], [], { axis: 0 }, null);
}

/** int32 from, from + 1, … below `to`. */
function range(from: Value, to: Value, count: Dim): Value {
  return cast(apply("Range", [from, to, int64Scalar(1)], [count], {}, null), "int32");
}

function both(a: Value, b: Value, shape: readonly Dim[]): Value {
  return apply("And", [a, b], shape, {}, null, "bool");
}

/** Additive mask [B, 1, T, S] of new tokens behind a cache: those that `mask` [B, S] has, up to themselves, and fewer than `window`
 *  back. */
function causalMask(ids: Value, mask: Value, window: number | null): Value {
  const [total, length] = [sizeOf(mask, 1), sizeOf(ids, 1)];
  const key = unsqueeze(range(int64Scalar(0), total, S), [0, 1, 2], [1, 1, 1, S]);
  const first = apply("Sub", [total, length], [], {}, null);
  const query = unsqueeze(range(first, total, T), [0, 1, 3], [1, 1, T, 1]);
  const shape = [1, 1, T, S];
  let seen = apply("LessOrEqual", [key, query], shape, {}, null, "bool");
  if (window !== null)
    seen = both(seen, apply("Less", [sub(query, key), int32s([window])], shape, {}, null, "bool"), shape);
  const there = cast(unsqueeze(cast(mask, "int32"), [1, 2], [B, 1, 1, S]), "bool");
  const all = [B, 1, T, S];
  const visible = both(there, seen, all);
  return apply("Where", [visible, scalarConstant(0), scalarConstant(-1e30)], all, {}, null, "float32");
}

/** Attention over a cache that is an input, and with the new keys and values behind it an output. */
function cachedAttention(
  { config, positionCount }: ExportedModel,
  [ids, mask]: readonly [Value, Value],
  outputs: Record<string, Value>,
): AttentionStrategy {
  const { kvHeadCount, headDim } = config;
  const masks = new Map<number | null, Value>();
  const maskOf = (window: number | null): Value => {
    const made = masks.get(window) ?? groupMask(causalMask(ids, mask, window), config);
    masks.set(window, made);
    return made;
  };
  const extended = (kind: "key" | "value", layer: number, x: Value): Value => {
    const past = input(ONNX_NAMES.past(kind, layer), "float32", [B, kvHeadCount, P, headDim]);
    const all = concat([past, splitHeads(x, config)], 2);
    outputs[ONNX_NAMES.present(kind, layer)] = all;
    return all;
  };
  return (path, q, k, v) => {
    const layer = Number(path.split(".")[1]);
    const [keys, values] = [extended("key", layer, k), extended("value", layer, v)];
    return headAttention(q, { keys, values }, maskOf(windowOf(config, path, positionCount)), config);
  };
}

/** The last `count` tokens of [B, T, d], all for 0: [B, N, d]. */
function lastTokens(hidden: Value, count: Value): Value {
  const start = apply("Neg", [apply("Unsqueeze", [count, int64s([0])], [1], {}, null)], [1], {}, null);
  const bounds = [start, int64s([Number.MAX_SAFE_INTEGER]), int64s([1])];
  return apply("Slice", [hidden, ...bounds], hidden.shape.with(1, "num_logits"), {}, null);
}

/** A decoder with its cache, as transformers.js runs it: logits [B, N, V] and the cache from ids, mask and positions (int64), the
 *  cache before, and the number N of last tokens that are asked for. */
export function decoderGraph(model: ExportedModel): Record<string, Value> {
  const { config, family, modules, source, lookup, positionCount } = model;
  const ids = input(ONNX_NAMES.ids, "int64", [B, T]);
  const mask = input(ONNX_NAMES.mask, "int64", [B, S]);
  const given = input(ONNX_NAMES.positions, "int64", [B, T]);
  const { firstPosition } = knownType(source.hfConfig.model_type);
  const positions = firstPosition === 0 ? given : sub(given, int64s([firstPosition]));
  const cache: Record<string, Value> = {};
  const ctx = baseContext(modules, lookup, cachedAttention(model, [ids, mask], cache));
  const hidden = family.forward(config, ctx, { ids, positions }, positionCount);
  const wanted = lastTokens(hidden, input(ONNX_NAMES.logitsToKeep, "int64", []));
  return { [ONNX_NAMES.logits]: family.logits(ctx, wanted), ...cache };
}
