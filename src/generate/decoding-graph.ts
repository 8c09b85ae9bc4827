import { type HoistedGraph, hoist } from "../graph/hoist.ts";
import {
  blockAttention,
  blockSizes,
  byHead,
  foldRows,
  freshMask,
  gather,
  pastMask,
} from "../graph/ops/index.ts";
import { constant, input, known, type Value } from "../graph/value.ts";
import { type AttentionStrategy, keepSegments, windowOf } from "../models/base-context.ts";
import type { ForwardContext } from "../models/context.ts";
import {
  type AdaptedModel,
  adaptedContext,
  adaptedGraph,
  forwardAdapted,
} from "../peft/use/adapted-model.ts";
import { iota } from "../tensor/tensor.ts";

/** Names of a layer's cached keys or values, [R, kvHeads, 1, C, headDim] with room for C tokens. */
function cacheName(kind: "keys" | "values", layer: number, scope = ""): string {
  return `${scope}cache.${kind}.${layer}`;
}

/** Every cache tensor of a model. */
export function cacheNames(layerCount: number, scope = ""): string[] {
  const layers = Array.from({ length: layerCount }, (_, i) => i);
  return layers.flatMap((i) => [cacheName("keys", i, scope), cacheName("values", i, scope)]);
}

/** Attention over a cache with room, over a prefix that stands before every row, and over the new tokens, which are put into `outputs`
 *  [R, T, kvHeads·headDim] under `<cache name>.new`. */
function cacheAttention(
  { config, positionCount }: AdaptedModel,
  outputs: Record<string, Value>,
  scope: string,
): AttentionStrategy {
  const { kvHeadCount, headDim } = config;
  const cached = (name: string): Value => input(name, "float32", ["R", kvHeadCount, 1, "C", headDim]);
  const tokens = { lengths: input("lengths", "int32", ["R"]), added: input("added", "int32", ["T"]) };
  const columns = input("columns", "int32", ["C"]);
  const masksOf = memoized((window: number | null, prefix: number) => {
    const before = prefix === 0 ? [] : [constant(iota(prefix, -prefix))];
    const past = [columns, ...before].map((at) => pastMask(tokens, at, window));
    const masks = [...past, freshMask(tokens, window)];
    return { masks, ends: blockSizes(masks) };
  });
  return (path, q, k, v, prefix) => {
    const layer = Number(path.split(".")[1]);
    const [keys, values] = [cacheName("keys", layer, scope), cacheName("values", layer, scope)];
    outputs[`${keys}.new`] = k;
    outputs[`${values}.new`] = v;
    const count = prefix ? known(prefix.keys.shape[1], "prefix") : 0;
    const { masks, ends } = masksOf(windowOf(config, path, positionCount + count), count);
    const fresh = [...(prefix ? [prefix] : []), { keys: k, values: v }];
    const parts = [
      { keys: cached(keys), values: cached(values) },
      ...fresh.map((p) => ({ keys: byHead(p.keys, config), values: byHead(p.values, config) })),
    ];
    const blocks = parts.map((part, i) => ({ ...part, mask: masks[i] as Value }));
    return blockAttention(q, blocks, ends, config);
  };
}

/** What `make` gives, made once for the same arguments. */
function memoized<T>(make: (window: number | null, prefix: number) => T): typeof make {
  const made = new Map<string, T>();
  return (window, prefix) => {
    const key = `${window} ${prefix}`;
    const value = made.get(key) ?? make(window, prefix);
    made.set(key, value);
    return value;
  };
}

/** What is particular about one of several decodings in a runtime. */
export interface DecodingScope {
  /** In front of the names of its cache and of what is computed from θ once. */
  readonly scope?: string;
  /** What is added to the adapted context. */
  readonly wrap?: (ctx: ForwardContext) => ForwardContext;
}

/** A decoding step in two graphs: `once` holds what depends on θ alone and stays for many steps (θ is an input), `each` takes T new
 *  tokens in each of R rows after those in the cache. Outputs of a step: `logits` [O, V] at the O `outputNodes` (flat indices into
 *  R·T), and the new keys and values of every layer. */
export function decodeGraph(model: AdaptedModel, { scope = "", wrap }: DecodingScope = {}): HoistedGraph {
  const ids = input("tokens", "int32", ["R", "T"]);
  const positions = input("positions", "int64", ["R", "T"]);
  return adaptedGraph(model, { ids }, (inputs, theta) => {
    const outputs: Record<string, Value> = {};
    const adapted = adaptedContext(model, inputs, cacheAttention(model, outputs, scope), keepSegments, true);
    const ctx = wrap ? wrap(adapted) : adapted;
    const hidden = foldRows(forwardAdapted(model, ctx, { ids, positions }, model.positionCount));
    const atOutputs = gather(hidden, input("outputNodes", "int32", ["O"]));
    return hoist({ logits: model.family.logits(ctx, atOutputs), ...outputs }, theta, `${scope}parameters`);
  });
}
