import { applyMany, type Value } from "../value.ts";
import type { AttentionSizes } from "./attention.ts";

/** Keys and values of the tokens so far, [R, kvHeads, C, headDim] each, with room for C tokens. */
export interface KeyValueCache {
  readonly keys: Value;
  readonly values: Value;
}

/** Where the new tokens of each row go. */
export interface CachePlaces {
  /** int32 [R]: column of the last real token. Rows of several tokens start at column 0 and may be padded on the right. */
  readonly last: Value;
  /** int32 []: columns in use in the longest row. */
  readonly total: Value;
}

/** Grouped-query attention of T new tokens over a cache and themselves: q [R, T, heads·headDim], k and v
 *  [R, T, kvHeads·headDim] → [R, T, heads·headDim]. The caller adds k and v to the cache afterwards. `window`: tokens that a
 *  query may look back, itself included; null for all. Not differentiable. */
export function cachedAttention(
  { q, k, v }: { readonly q: Value; readonly k: Value; readonly v: Value },
  cache: KeyValueCache,
  { last, total }: CachePlaces,
  sizes: AttentionSizes,
  window: number | null,
): Value {
  const { headCount, kvHeadCount, headDim, attentionScale = 1 / Math.sqrt(headDim) } = sizes;
  const attributes = {
    num_heads: headCount,
    kv_num_heads: kvHeadCount,
    scale: { float: attentionScale },
    ...(window === null ? {} : { local_window_size: window }),
  };
  // The operator also puts out the cache with the new tokens in it, which nobody fetches: each fetched output is copied.
  const types = [q, cache.keys, cache.values].map(({ dtype, shape }) => ({ dtype, shape }));
  const inputs = [q, k, v, cache.keys, cache.values, last, total];
  return applyMany("com.microsoft::GroupQueryAttention", inputs, types, attributes, null)[0] as Value;
}
