import { type HoistedGraph, hoist } from "../graph/hoist.ts";
import { cachedAttention, cacheMask, concat, foldRows, gather, transpose } from "../graph/ops/index.ts";
import { input, type Value } from "../graph/value.ts";
import { type AttentionStrategy, keepSegments, prefixAttention, windowOf } from "../models/base-context.ts";
import {
  type AdaptedModel,
  adaptedContext,
  adaptedGraph,
  forwardAdapted,
} from "../peft/use/adapted-model.ts";

/** How keys and values are kept between runs: `appended`, [past, R, kvHeads·headDim], token-major, so that new tokens go at
 *  the end; or `roomy`, [R, kvHeads, C, headDim] with room for C tokens, as the runtime's attention reads it. */
export type CacheKind = "appended" | "roomy";

/** Names of a layer's cached keys or values. */
export function cacheName(kind: "keys" | "values", layer: number): string {
  return `cache.${kind}.${layer}`;
}

/** Every cache tensor of a model. */
export function cacheNames(layerCount: number): string[] {
  const layers = Array.from({ length: layerCount }, (_, i) => i);
  return layers.flatMap((i) => [cacheName("keys", i), cacheName("values", i)]);
}

/** Attention over cached and new tokens; what is new is put into `outputs` under `<cache name>.new`. */
function appendedAttention(
  { config, positionCount }: AdaptedModel,
  positions: Value,
  outputs: Record<string, Value>,
): AttentionStrategy {
  const queries = input("queryColumns", "int32", ["T"]);
  const columns = input("keyColumns", "int32", ["P+T"]);
  const starts = input("starts", "int32", ["R"]);
  const maskOf = (window: number | null): Value => cacheMask(queries, columns, starts, window);
  const width = config.kvHeadCount * config.headDim;
  const attend = prefixAttention(config, { positions, positionCount }, maskOf);
  const extend = (name: string, fresh: Value): Value => {
    const tokenMajor = transpose(fresh, [1, 0, 2]);
    outputs[`${name}.new`] = tokenMajor;
    return transpose(concat([input(name, "float32", ["P", "R", width]), tokenMajor], 0), [1, 0, 2]);
  };
  return (path, q, k, v, prefix, segment) => {
    const layer = Number(path.split(".")[1]);
    const keys = extend(cacheName("keys", layer), k);
    return attend(path, q, keys, extend(cacheName("values", layer), v), prefix, segment);
  };
}

/** Attention over a cache with room; what is new is put into `outputs` [R, T, kvHeads·headDim]. */
function roomyAttention(
  { config, positionCount }: AdaptedModel,
  outputs: Record<string, Value>,
): AttentionStrategy {
  const { kvHeadCount, headDim } = config;
  const places = { last: input("lastColumns", "int32", ["R"]), total: input("totalLength", "int32", []) };
  const cached = (name: string): Value => input(name, "float32", ["R", kvHeadCount, "C", headDim]);
  return (path, q, k, v) => {
    const layer = Number(path.split(".")[1]);
    const [keys, values] = [cacheName("keys", layer), cacheName("values", layer)];
    outputs[`${keys}.new`] = k;
    outputs[`${values}.new`] = v;
    const cache = { keys: cached(keys), values: cached(values) };
    return cachedAttention({ q, k, v }, cache, places, config, windowOf(config, path, positionCount));
  };
}

/** A decoding step in two graphs: `once` holds what depends on θ alone and stays for many steps (θ is an input), `each` takes T new
 *  tokens in each of R rows after P cached ones. Outputs of a step: `logits` [O, V] at the O `outputNodes` (flat indices into
 *  R·T), and the new keys and values of every layer. */
export function decodeGraph(model: AdaptedModel, kind: CacheKind): HoistedGraph {
  const ids = input("tokens", "int32", ["R", "T"]);
  const positions = input("positions", "int64", ["R", "T"]);
  return adaptedGraph(model, { ids }, (inputs, theta) => {
    const outputs: Record<string, Value> = {};
    const ctx = adaptedContext(
      model,
      inputs,
      kind === "roomy" ? roomyAttention(model, outputs) : appendedAttention(model, positions, outputs),
      keepSegments,
      true,
    );
    const hidden = foldRows(forwardAdapted(model, ctx, { ids, positions }, model.positionCount));
    const atOutputs = gather(hidden, input("outputNodes", "int32", ["O"]));
    return hoist({ logits: model.family.logits(ctx, atOutputs), ...outputs }, theta, "parameters");
  });
}
