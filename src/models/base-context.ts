import { FormatError } from "../errors.ts";
import type { ModelConfig } from "../formats/model.ts";
import {
  add,
  attention,
  type BlockProducts,
  behindStem,
  blockMatrix,
  concat,
  gather,
  groupMask,
  linear,
  openColumns,
  prefixColumns,
  type Stem,
  scale,
  sequenceMask,
  splitEvenly,
  stackRows,
  stemMask,
  stemRows,
  type TrieTokens,
  trieMask,
} from "../graph/ops/index.ts";
import { int64s } from "../graph/ops/reduce.ts";
import { apply, type Dim, known, type Value, weight } from "../graph/value.ts";
import type { DType } from "../tensor/dtype.ts";
import type { ForwardContext, KeyValuePrefix, LinearWeights, SegmentStrategy } from "./context.ts";
import { type ModuleSpec, moduleWeights, type WeightSpec } from "./family.ts";
import { BLOCK_SIZE, type QuantizedBits } from "./quantize.ts";
import type { WeightFile } from "./weight-file.ts";
import { partName, type WeightPart } from "./weight-storage.ts";

/** Looks a weight up by path; null if there is none. */
export type WeightLookup = (path: string) => Value | null;

/** The frozen weights of a model, each one graph value however often it is used. `products`: how those with quantized ones
 *  are computed. */
function frozenWeights(
  modules: readonly ModuleSpec[],
  file: WeightFile,
  products: BlockProducts = "float",
): WeightLookup {
  const specs = new Map(modules.flatMap(moduleWeights).map((w) => [w.path, w]));
  const made = new Map<string, Value>();
  return (path) => {
    const spec = specs.get(path);
    if (!spec) return null;
    const value = made.get(path) ?? frozenWeight(spec, file, products);
    made.set(path, value);
    return value;
  };
}

/** The weights as training and as decoding take them (`BaseModel`). */
export function weightLookups(
  modules: readonly ModuleSpec[],
  file: WeightFile,
): { readonly frozen: WeightLookup; readonly decoding: WeightLookup } {
  return { frozen: frozenWeights(modules, file), decoding: frozenWeights(modules, file, "int8") };
}

function frozenWeight({ path, shape }: WeightSpec, file: WeightFile, products: BlockProducts): Value {
  const bits = file.bitsOf(path);
  return bits === 32
    ? weight(path, shape, file.locate(path))
    : quantizedWeight(path, shape, bits, file, products);
}

function quantizedWeight(
  path: string,
  shape: readonly number[],
  bits: QuantizedBits,
  file: WeightFile,
  products: BlockProducts,
): Value {
  const [n, k] = shape as [number, number];
  const blocks = k / BLOCK_SIZE;
  const part = (name: WeightPart, dims: readonly number[], dtype: DType): Value => {
    const stored = partName(path, name);
    return weight(`${stored} ${dtype} [${dims}]`, dims, file.locate(stored), dtype);
  };
  const has = (name: WeightPart): boolean => file.has(partName(path, name));
  return blockMatrix(
    {
      bits,
      shape: [n, k],
      quanta: part("quanta", [n, blocks, (BLOCK_SIZE * bits) / 8], "uint8"),
      rows: part("quanta", [n * blocks, BLOCK_SIZE], bits === 4 ? "uint4" : "uint8"),
      scales: part("scales", [n, blocks], "float32"),
      zeroPoints: has("zeroPoints")
        ? {
            bytes: part("zeroPoints", [n, blocks / 2], "uint8"),
            nibbles: part("zeroPoints", [n * blocks], "uint4"),
          }
        : null,
      offsets: has("offsets") ? part("offsets", [blocks, n], "float32") : null,
    },
    products,
  );
}

/** How a query sees keys and values: over the packed batch, or over a cache. What it computes with them is a `segment`. */
export type AttentionStrategy = (
  path: string,
  q: Value,
  k: Value,
  v: Value,
  prefix: KeyValuePrefix | undefined,
  segment: SegmentStrategy,
) => Value;

/** Queries of a row that attend at once, at most, where rows are longer: scores take memory linear in the row's length. */
const BLOCK_QUERIES = 1024;
/** Rows are padded to a multiple of this, so that any number of blocks up to it divides them. */
const MAX_BLOCKS = 32;

/** Blocks that the queries of rows of up to `rowTokens` attend in: a power of two. */
export function queryBlocks(rowTokens: number): number {
  const wanted = Math.max(1, rowTokens / BLOCK_QUERIES);
  return Math.min(MAX_BLOCKS, 2 ** Math.ceil(Math.log2(wanted)));
}

/** Attention inside one packed batch; `ends` of an encoder: of each token's sequence. `positionCount`: positions that can
 *  occur; a window of as many hides nothing. `blocks` of equal size, from `queryBlocks`: each takes the keys up to its own
 *  last. `stem`: what rows see of the first one; not for encoders. */
export function batchAttention(
  config: ModelConfig,
  tokens: TrieTokens,
  positionCount: number = Number.POSITIVE_INFINITY,
  blocks = 1,
  stem: Stem | null = null,
): AttentionStrategy {
  const maskOf = (queries: TrieTokens, keys: TrieTokens, window: number | null): Value => {
    if (config.encoder) return sequenceMask(keys.ends);
    const mask = trieMask(queries, keys, window);
    return stem ? stemMask(mask, stem, queries, window) : mask;
  };
  const over = (queries: TrieTokens, keys: TrieTokens): AttentionStrategy =>
    prefixAttention(config, { positions: queries.positions, positionCount }, (window) =>
      maskOf(queries, keys, window),
    );
  const parts = config.encoder ? [tokens] : tokenBlocks(tokens, blocks);
  const attends = parts.map((queries, b) => over(queries, tokensUpTo(parts, b)));
  return (path, q, k, v, prefix, segment) => {
    const [qs, ks, vs] = [q, k, v].map((x) => splitEvenly(x, parts.length, 1)) as [Value[], Value[], Value[]];
    const fronts = stem ? ([k, v].map((x) => stemRows(x, stem)) as [Value, Value]) : null;
    const mixed = attends.map((attend, b) => {
      const own = [ks, vs].map((x) => concat(x.slice(0, b + 1), 1)) as [Value, Value];
      const [keys, values] = stem && fronts ? behind(fronts, own, stem) : own;
      return attend(path, qs[b] as Value, keys, values, prefix, segment);
    });
    return concat(mixed, 1);
  };
}

function behind(fronts: readonly [Value, Value], own: readonly [Value, Value], stem: Stem): [Value, Value] {
  return [behindStem(fronts[0], own[0], stem), behindStem(fronts[1], own[1], stem)];
}

function tokenBlocks({ columns, ends, positions }: TrieTokens, blocks: number): TrieTokens[] {
  const [c, e, p] = [columns, ends, positions].map((x) => splitEvenly(x, blocks, x.shape.length - 1));
  return Array.from({ length: blocks }, (_, b) => ({
    columns: c?.[b] as Value,
    ends: e?.[b] as Value,
    positions: p?.[b] as Value,
  }));
}

function tokensUpTo(parts: readonly TrieTokens[], last: number): TrieTokens {
  const join = (part: (t: TrieTokens) => Value, axis: number): Value =>
    concat(parts.slice(0, last + 1).map(part), axis);
  return {
    columns: join((t) => t.columns, 0),
    ends: join((t) => t.ends, 1),
    positions: join((t) => t.positions, 1),
  };
}

/** Tokens that a layer's queries may look back; null for all that there are. */
export function windowOf(config: ModelConfig, path: string, positionCount: number): number | null {
  const { slidingWindow, localLayers } = config;
  const isLocal = localLayers?.indices.includes(Number(path.split(".")[1])) ?? true;
  return isLocal && slidingWindow !== null && slidingWindow < positionCount ? slidingWindow : null;
}

/** A mask as attention takes it: [R, 1, group·T, S], and with columns in front for a prefix. */
interface Masks {
  readonly mask: Value;
  readonly grouped: Value;
  widened: Value | null;
}

/** Attention over keys and values of a sequence under the layer's mask [R, 1, T, S], and over a prefix that stands before it.
 *  `maskOf` makes the mask of a window (null: none), once for all layers that share it (and once more where there is a
 *  prefix). positions int32 [R, T]; `positionCount` as in `batchAttention`. */
export function prefixAttention(
  config: ModelConfig,
  { positions, positionCount }: { readonly positions: Value; readonly positionCount: number },
  maskOf: (window: number | null) => Value,
): AttentionStrategy {
  const made = new Map<number | null, Masks>();
  const masksOf = (window: number | null): Masks => {
    const before = made.get(window);
    if (before) return before;
    const mask = maskOf(window);
    const masks: Masks = { mask, grouped: groupMask(mask, config), widened: null };
    made.set(window, masks);
    return masks;
  };
  const attend = (path: string, q: Value, k: Value, v: Value, prefix?: KeyValuePrefix): Value => {
    if (!prefix) return attention(q, k, v, masksOf(windowOf(config, path, positionCount)).grouped, config);
    const count = known(prefix.keys.shape[1], "prefix");
    const [keys, values] = [inFront(prefix.keys, k), inFront(prefix.values, v)];
    const size = windowOf(config, path, positionCount + count);
    const masks = masksOf(size);
    masks.widened ??= groupMask(widen(masks.mask, count, keys.shape[1] as Dim, size, positions), config);
    return attention(q, keys, values, masks.widened, config);
  };
  return (path, q, k, v, prefix, segment) =>
    segment("core", [q, k, v], (...[a, b, c]) => attend(path, a as Value, b as Value, c as Value, prefix));
}

function widen(mask: Value, count: number, keys: Dim, window: number | null, positions: Value): Value {
  return window === null
    ? openColumns(mask, count, keys)
    : prefixColumns(mask, count, keys, { size: window, positions });
}

/** `prefix` [1, P, w] in front of every row of `x` [R, T, w] → [R, P+T, w]. */
function inFront(prefix: Value, x: Value): Value {
  const row = scale(firstToken(x), 0); // [R, 1, w] of zeros: gives the prefix its rows
  return concat([add(prefix, row), x], 1);
}

/** Values only: no gradient flows through the zeros that are made of it. */
function firstToken(x: Value): Value {
  const [rows, , width] = x.shape as [Dim, Dim, Dim];
  const bounds = [0, 1, 1].map((n) => int64s([n]));
  return apply("Slice", [x, ...bounds], [rows, 1, width], {}, () => [null, null, null, null]);
}

/** Every segment's inside is kept for the backward pass. */
export const keepSegments: SegmentStrategy = (_kind, inputs, build) => build(...inputs);

/** x · [W₁; …]ᵀ + [b₁ …]; null where not all or none have a bias, or the weights cannot be stacked. */
function joinedLinear(all: readonly LinearWeights[], x: Value): Value | null {
  const biases = all.flatMap(({ bias }) => bias ?? []);
  const w = stackRows(all.map(({ weight: own }) => own));
  if (!w || (biases.length > 0 && biases.length < all.length)) return null;
  const y = linear(x, w);
  return biases.length > 0 ? add(y, concat(biases, 0)) : y;
}

/** The context without any adaptation: weights as `lookup` gives them (frozen, or replaced by trainable values). `joins`:
 *  linear modules with one input are one product where their weights can be stacked. */
export function baseContext(
  modules: readonly ModuleSpec[],
  lookup: WeightLookup,
  attend: AttentionStrategy,
  segment: SegmentStrategy = keepSegments,
  joins = false,
): ForwardContext {
  const specs = new Map(modules.map((m) => [m.path, m]));
  const need = (path: string): Value => {
    const value = lookup(path);
    if (!value) throw new FormatError("model", `no weight ${path}`);
    return value;
  };
  const linearWeights = (path: string): LinearWeights => {
    const spec = specs.get(path);
    const own = lookup(`${path}.weight`); // a tied output layer has its own weight once something trains it
    const w = own ?? need(`${spec?.kind === "linear" && spec.tiedTo ? spec.tiedTo : path}.weight`);
    return { weight: w, bias: lookup(`${path}.bias`) };
  };
  return {
    weight: need,
    linearWeights,
    linear: (path, x) => {
      const { weight: w, bias } = linearWeights(path);
      const y = linear(x, w);
      return bias ? add(y, bias) : y;
    },
    joined: (paths, x) => (joins ? joinedLinear(paths.map(linearWeights), x) : null),
    embedding: (path, ids) => gather(need(`${path}.weight`), ids),
    attention: (path, q, k, v, prefix) => attend(path, q, k, v, prefix, segment),
    output: (_path, x) => x,
    segment,
  };
}
