import { reshape } from "../graph/ops/index.ts";
import { input, type Value } from "../graph/value.ts";
import type { BaseModel } from "../models/base.ts";
import { type AttentionStrategy, baseContext, batchAttention } from "../models/base-context.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { type FloatTensor, floats, ints } from "../tensor/tensor.ts";

/** What the base model makes of one sequence given as token embeddings [n, d] (as its first layer takes them), by name: `layers.0` is what leaves that layer
 *  [n, d], `layers.0.keys` and `layers.0.values` what its attention reads [n, kvWidth]. */
export type BaseActivations = (rows: FloatTensor) => Promise<ReadonlyMap<string, FloatTensor>>;

type Parts = Pick<BaseModel, "config" | "family" | "modules" | "frozen" | "weights">;

/** Runs the base on short sequences, as starting values ask for it. */
export function baseActivations(runtime: Runtime, base: Parts): BaseActivations {
  return async ({ data, shape }) => {
    const length = shape[0] as number;
    const graph = activationGraph(base, length);
    const session = await runtime.load(graph, { folder: base.weights.folder, prepack: false });
    try {
      const columns = Int32Array.from({ length }, (_, i) => i);
      const outputs = await session.run({
        rows: floats(data, [1, ...shape]),
        positions: ints(Int32Array.from(columns), [1, length]),
        columns: ints(columns, [length]),
        ends: ints(new Int32Array(length).fill(length), [1, length]),
      });
      return new Map(Object.entries(outputs) as [string, FloatTensor][]);
    } finally {
      await session.close();
    }
  };
}

function activationGraph({ config, family, modules, frozen }: Parts, length: number): Record<string, Value> {
  const rows = input("rows", "float32", [1, length, config.hiddenSize]);
  const positions = input("positions", "int32", [1, length]);
  const columns = input("columns", "int32", [length]);
  const ends = input("ends", "int32", [1, length]);
  const outputs: Record<string, Value> = {};
  const keep = (name: string, x: Value): void => {
    outputs[name] = reshape(x, x.shape.slice(1));
  };
  const attend = batchAttention(config, { columns, ends, positions });
  const attention: AttentionStrategy = (path, q, k, v, ...rest) => {
    keep(`${path}.keys`, k);
    keep(`${path}.values`, v);
    return attend(path, q, k, v, ...rest);
  };
  const ctx = baseContext(modules, frozen, attention);
  const capturing = {
    ...ctx,
    output: (path: string, x: Value) => {
      if (path === "embed") return rows;
      if (/^layers\.\d+$/.test(path)) keep(path, x);
      return x;
    },
  };
  family.forward(config, capturing, { ids: input("tokens", "int32", [1, length]), positions }, length);
  return outputs;
}
