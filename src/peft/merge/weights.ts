import { UnsupportedError } from "../../errors.ts";
import { moduleWeights } from "../../models/family.ts";
import type { WeightFile } from "../../models/weight-layout.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { FloatTensor } from "../../tensor/tensor.ts";
import { createCompute } from "../compute.ts";
import type { MergeSources, Merging, Method } from "../method.ts";
import type { ModelShape } from "../model-shape.ts";
import { unflatten } from "../parameters.ts";

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

/** Paths that each method changes, those included that it changes only where they are. */
function changedPaths(mergings: readonly Merging[], shape: Pick<ModelShape, "modules">): Set<string>[] {
  const there = new Set([
    ...shape.modules.flatMap(moduleWeights).map((w) => w.path),
    ...mergings.flatMap((m) => m.paths),
  ]);
  return mergings.map((m) => new Set([...m.paths, ...(m.optional ?? []).filter((path) => there.has(path))]));
}

/** The weights of a base model with adapters folded in: first what was trained itself, then what each method does to it, in
 *  their order. The base is only read. A tied output layer becomes a weight of its own where embedding and output layer no
 *  longer agree: its path is then among `paths`.
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
  const changes = changedPaths(mergings, shape);
  const changed = new Set(changes.flatMap((paths) => [...paths]));
  if (tied !== null && methods.some((m, i) => !m.keepsTie && changes[i]?.has(tied)))
    changed.add("head.weight");

  const read = (merging: Merging, path: string, base: MergeSources["base"]): Promise<FloatTensor> =>
    merging.read(path, { base, trained: (name) => values.get(name) as FloatTensor, compute });

  const start = async (path: string): Promise<FloatTensor> => {
    const owner = mergings.find((m) => m.whole?.has(path));
    if (owner) return read(owner, path, weights.read);
    if (path !== "head.weight" || tied === null) return weights.read(path);
    return keepsTie ? start(tied) : weights.read(tied);
  };

  const after = async (path: string, count: number): Promise<FloatTensor> => {
    if (count === 0) return start(path);
    const merging = mergings[count - 1] as Merging;
    const base = (p: string): Promise<FloatTensor> => after(p, count - 1);
    if (!changes[count - 1]?.has(path) || merging.whole?.has(path)) return base(path);
    return read(merging, path, base);
  };

  return {
    paths: [...changed],
    read: (path) => after(path, mergings.length),
    close: () => compute.close(),
  };
}
