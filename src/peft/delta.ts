import { UnsupportedError } from "../errors.ts";
import type { WeightFile } from "../models/weight-file.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { FloatTensor } from "../tensor/tensor.ts";
import { createCompute } from "./compute.ts";
import type { Merging, Method } from "./method.ts";
import type { ModelShape } from "./model-shape.ts";
import { unflatten } from "./parameters.ts";

/** Weights that merging changes: which, and the new value of each. */
export interface MergedWeights {
  /** Paths of changed weights, `layers.0.attention.q.weight`. */
  readonly paths: readonly string[];
  /** The new value. Computed when asked for, one at a time. */
  read(path: string): Promise<FloatTensor>;
  close(): Promise<void>;
}

/** How each method merges. @throws UnsupportedError naming every method that cannot, and why */
function mergingsOf(methods: readonly Method[]): Merging[] {
  const refused = methods.filter((m) => typeof m.merging === "string");
  if (refused.length > 0)
    throw new UnsupportedError(
      refused.map((m) => `${m.name} cannot be merged: ${String(m.merging)}`).join("\n"),
    );
  return methods.map((m) => m.merging as Merging);
}

/** Path of the embedding that the output layer shares its weight with; null for none. */
function tiedEmbedding(shape: Pick<ModelShape, "modules">): string | null {
  const head = shape.modules.find((m) => m.kind === "linear" && m.tiedTo !== undefined);
  return head?.kind === "linear" && head.tiedTo !== undefined ? `${head.tiedTo}.weight` : null;
}

/** The weights of a base model with adapters folded in, one method after the other. The base is only read. A tied output
 *  layer becomes a weight of its own where embedding and output layer no longer agree: its path is then among `paths`.
 *  @throws UnsupportedError if a method cannot merge */
export function mergedWeights(
  methods: readonly Method[],
  theta: Float32Array,
  shape: Pick<ModelShape, "modules">,
  weights: WeightFile,
  runtime: Runtime,
): MergedWeights {
  const mergings = mergingsOf(methods);
  const values = unflatten(
    theta,
    methods.flatMap((m) => m.trainables),
  );
  const compute = createCompute(runtime);
  const tied = tiedEmbedding(shape);
  const keepsTie = methods.some((m) => m.keepsTie);
  const changed = new Set(mergings.flatMap((m) => m.paths));
  if (tied !== null && changed.has(tied) && !keepsTie) changed.add("head.weight");

  const after = async (path: string, count: number): Promise<FloatTensor> => {
    if (count === 0) return weights.read(path === "head.weight" && tied !== null ? tied : path);
    const merging = mergings[count - 1] as Merging;
    const base = (p: string): Promise<FloatTensor> => after(p, count - 1);
    if (!merging.paths.includes(path)) return base(path);
    return merging.read(path, { base, trained: (name) => values.get(name) as FloatTensor, compute });
  };

  return {
    paths: [...changed],
    read: (path) => after(path, mergings.length),
    close: () => compute.close(),
  };
}
