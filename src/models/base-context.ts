import { FormatError } from "../errors.ts";
import type { ModelConfig } from "../formats/model-source.ts";
import { add, attention, gather, groupMask, linear } from "../graph/ops/index.ts";
import { type Value, weight } from "../graph/value.ts";
import type { ForwardContext } from "./context.ts";
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
  const grouped = groupMask(mask, config);
  return (_path, q, k, v) => attention(q, k, v, grouped, config);
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
  const linearWeight = (path: string): Value => {
    const spec = specs.get(path);
    const own = lookup(`${path}.weight`); // a tied output layer has its own weight once something trains it
    return own ?? need(`${spec?.kind === "linear" && spec.tiedTo ? spec.tiedTo : path}.weight`);
  };
  return {
    weight: need,
    linear: (path, x) => {
      const y = linear(x, linearWeight(path));
      const bias = lookup(`${path}.bias`);
      return bias ? add(y, bias) : y;
    },
    embedding: (path, ids) => gather(need(`${path}.weight`), ids),
    attention: attend,
    output: (_path, x) => x,
  };
}
