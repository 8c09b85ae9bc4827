import { add, matmul, mul, transpose } from "../graph/ops/index.ts";
import { input } from "../graph/value.ts";
import type { WeightFile } from "../models/weight-file.ts";
import type { Runtime, Session } from "../runtime/runtime.ts";
import { type FloatTensor, scalar } from "../tensor/tensor.ts";
import type { Lora, LoraModule } from "./lora.ts";
import { unflatten } from "./parameters.ts";

/** Weights that merging changes: which, and the new value of each. */
export interface MergedWeights {
  /** Paths of changed weights, `layers.0.attention.q.weight`. */
  readonly paths: readonly string[];
  /** W + s·B·A, or the trained weight itself. Computed when asked for, one at a time. */
  read(path: string): Promise<FloatTensor>;
  close(): Promise<void>;
}

/** W + s·B·A for a linear weight [out, in], W + s·(B·A)ᵀ for an embedding [vocab, dim]. */
function mergeGraph(kind: LoraModule["kind"]): Parameters<Runtime["load"]>[0] {
  const rows = kind === "linear" ? "out" : "in";
  const w = input("w", "float32", [rows, kind === "linear" ? "in" : "out"]);
  const delta = matmul(input("b", "float32", ["out", "r"]), input("a", "float32", ["r", "in"]));
  const turned = kind === "linear" ? delta : transpose(delta, [1, 0]);
  return { merged: add(w, mul(turned, input("scaling", "float32", []))) };
}

/** The weights of a base model with an adapter folded in: W = W0 + (α/r)·B·A (LoRA §4.1). The base is only read.
 *  A tied output layer becomes a weight of its own where embedding and output layer no longer agree: its path is then
 *  among `paths`. */
export function mergedWeights(
  lora: Lora,
  theta: Float32Array,
  weights: WeightFile,
  runtime: Runtime,
): MergedWeights {
  const values = unflatten(theta, lora.trainables);
  const adapted = new Map(lora.plan.modules.map((m) => [`${m.path}.weight`, m]));
  const sessions = new Map<LoraModule["kind"], Promise<Session>>();
  const whole = lora.trainables.map((t) => t.name).filter((n) => /\.(weight|bias)$/.test(n));
  const changed = new Set([...adapted.keys(), ...whole]);
  const tied = lora.hasTiedHead;
  if (tied && changed.has("embed.weight")) changed.add("head.weight");

  const base = (path: string): Promise<FloatTensor> =>
    weights.read(path === "head.weight" && tied ? "embed.weight" : path);

  const fold = async (m: LoraModule): Promise<FloatTensor> => {
    const session = sessions.get(m.kind) ?? runtime.load(mergeGraph(m.kind));
    sessions.set(m.kind, session);
    const a = values.get(`${m.path}.loraA`) as FloatTensor;
    const b = values.get(`${m.path}.loraB`) as FloatTensor;
    const w = await base(`${m.path}.weight`);
    const { merged } = await (await session).run({ w, a, b, scaling: scalar(m.scaling) });
    return merged as FloatTensor;
  };

  return {
    paths: [...changed],
    read: async (path) => {
      const trained = values.get(path);
      const m = adapted.get(path);
      return trained ?? (m ? fold(m) : base(path));
    },
    close: async () => {
      for (const session of sessions.values()) await (await session).close();
    },
  };
}
