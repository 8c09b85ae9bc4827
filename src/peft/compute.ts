import type { Value } from "../graph/value.ts";
import type { Runtime, Session } from "../runtime/runtime.ts";
import type { FloatTensor, Tensor } from "../tensor/tensor.ts";

/** Runs small graphs on host tensors; each is loaded once. */
export interface Compute {
  /** The output `result` of a graph. `key` names the graph: calls with the same key must mean the same one. */
  run(key: string, build: () => Value, feeds: Readonly<Record<string, Tensor>>): Promise<FloatTensor>;
  close(): Promise<void>;
}

/** Computation on a runtime. Named dimensions let one graph serve many sizes. */
export function createCompute(runtime: Runtime): Compute {
  const sessions = new Map<string, Promise<Session>>();
  return {
    run: async (key, build, feeds) => {
      const session = sessions.get(key) ?? runtime.load({ result: build() });
      sessions.set(key, session);
      const { result } = await (await session).run(feeds);
      return result as FloatTensor;
    },
    close: async () => {
      for (const session of sessions.values()) await (await session).close();
      sessions.clear();
    },
  };
}
