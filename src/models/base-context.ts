import { FormatError } from "../errors.ts";
import type { ModelConfig } from "../formats/model-source.ts";
import { add, attention, concat, gather, groupMask, linear, openColumns, scale } from "../graph/ops/index.ts";
import { int64s } from "../graph/ops/reduce.ts";
import { apply, type Dim, known, type Value, weight } from "../graph/value.ts";
import type { ForwardContext, KeyValuePrefix, LinearWeights } from "./context.ts";
import { type ModuleSpec, moduleWeights } from "./family.ts";
import type { WeightFile } from "./weight-file.ts";

/** Looks a weight up by path; null if there is none. */
export type WeightLookup = (path: string) => Value | null;

/** The frozen weights of a model, each one graph value however often it is used. */
export function frozenWeights(modules: readonly ModuleSpec[], file: WeightFile): WeightLookup {
  const specs = new Map(modules.flatMap(moduleWeights).map((w) => [w.path, w]));
  const made = new Map<string, Value>();
  return (path) => {
    const spec = specs.get(path);
    if (!spec) return null;
    const value = made.get(path) ?? weight(path, spec.shape, file.locate(path));
    made.set(path, value);
    return value;
  };
}

/** How a query sees keys and values: over the packed batch, or over a cache. */
export type AttentionStrategy = ForwardContext["attention"];

/** Attention inside one packed batch. `mask` from `trieMask`. */
export function batchAttention(config: ModelConfig, mask: Value): AttentionStrategy {
  const attend = prefixAttention(config, mask);
  return (_path, q, k, v, prefix) => attend(q, k, v, prefix);
}

/** Attention over keys and values of a sequence under `mask` [R, 1, T, S], and over a prefix that every token sees. The
 *  masks are made once for all layers (and once more where there is a prefix). */
export function prefixAttention(
  config: ModelConfig,
  mask: Value,
): (q: Value, k: Value, v: Value, prefix?: KeyValuePrefix) => Value {
  const grouped = groupMask(mask, config);
  let widened: Value | null = null;
  return (q, k, v, prefix) => {
    if (!prefix) return attention(q, k, v, grouped, config);
    const [keys, values] = [inFront(prefix.keys, k), inFront(prefix.values, v)];
    widened ??= groupMask(
      openColumns(mask, known(prefix.keys.shape[1], "prefix"), keys.shape[1] as Dim),
      config,
    );
    return attention(q, keys, values, widened, config);
  };
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

/** The context without any adaptation: weights as `lookup` gives them (frozen, or replaced by trainable values). */
export function baseContext(
  modules: readonly ModuleSpec[],
  lookup: WeightLookup,
  attend: AttentionStrategy,
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
    embedding: (path, ids) => gather(need(`${path}.weight`), ids),
    attention: attend,
    output: (_path, x) => x,
  };
}
