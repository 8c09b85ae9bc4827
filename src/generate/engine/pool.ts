import type { AdaptedModel } from "../../peft/use/adapted-model.ts";
import {
  gateName,
  type PooledAdapter,
  type PoolTensor,
  pooledContext,
  poolGate,
  poolTensors,
} from "../../peft/use/pool.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { type Decoding, loadDecoding } from "../decoding.ts";

/** Adapters in use, and the factor of each. */
export type Mixture = ReadonlyMap<PooledAdapter, number>;

/** The graph of base and adapters that act row by row, and the adapters whose columns are in it. */
export interface Pool {
  /** The graph for the adapters of `all` rows, and the tensors of a run over some of them. */
  prepare(
    rows: readonly Mixture[],
    all: readonly Mixture[],
  ): Promise<{ readonly decoding: Decoding; readonly feeds: Readonly<Record<string, Tensor>> }>;
  close(): Promise<void>;
}

/** Columns of adapters that nobody uses any more stay up to this number: they may come back. */
const SPARE_COLUMNS = 64;

/** A pool with nothing in it. `updated`: paths that adapters which are loaded update, now. */
export function openPool(
  runtime: Runtime,
  model: AdaptedModel,
  folder: string,
  updated: () => Iterable<string>,
): Pool {
  let graph: { decoding: Decoding; paths: ReadonlySet<string>; needed: PoolTensor[] } | null = null;
  /** Adapters all of whose paths the graph has: they are many, and looked for at every step. */
  let covered = new WeakSet<PooledAdapter>();
  let columns: ReadonlySet<PooledAdapter> = new Set();

  const load = async (paths: ReadonlySet<string>): Promise<NonNullable<typeof graph>> => {
    const needed: PoolTensor[] = [];
    const wrap = (ctx: Parameters<typeof pooledContext>[0]) => pooledContext(ctx, paths, needed);
    const decoding = await loadDecoding(runtime, model, folder, paths.size > 0 ? { wrap } : {});
    return { decoding, paths, needed };
  };

  /** Another graph where adapters update what this one does not. */
  const updateGraph = async (used: ReadonlySet<PooledAdapter>): Promise<void> => {
    const others = [...used].filter((adapter) => !covered.has(adapter));
    if (graph !== null && others.length === 0) return;
    const paths = others.flatMap((adapter) => [...adapter.updates.keys()]);
    const known = graph?.paths;
    if (!known || !paths.every((path) => known.has(path))) await replaceGraph(known ?? new Set(), paths);
    for (const adapter of others) covered.add(adapter);
  };

  const replaceGraph = async (known: ReadonlySet<string>, paths: readonly string[]): Promise<void> => {
    const before = graph;
    graph = await load(new Set(paths.length > 0 ? [...known, ...paths, ...updated()] : []));
    columns = new Set();
    await before?.decoding.close();
    await runtime.drop(before?.needed.map(({ name }) => name) ?? []);
  };

  const updateColumns = async (used: ReadonlySet<PooledAdapter>): Promise<void> => {
    const { needed } = graph as NonNullable<typeof graph>;
    const isThere = [...used].every((adapter) => columns.has(adapter));
    if (needed.length === 0 || (isThere && columns.size > 0)) return;
    const spare = [...columns].filter((adapter) => !used.has(adapter));
    const ranks = spare.map((_, i) => spare.slice(0, i + 1).reduce((n, { rank }) => n + rank, 0));
    const wanted = [...used, ...spare.filter((_, i) => (ranks[i] as number) <= SPARE_COLUMNS)];
    columns = new Set(); // what is there is not known until all of it is
    await runtime.put(poolTensors(needed, wanted), { isGivenAway: true });
    columns = new Set(wanted);
  };

  return {
    prepare: async (rows, all) => {
      const used = new Set(all.flatMap((mixture) => [...mixture.keys()]));
      await updateGraph(used);
      await updateColumns(used);
      const { decoding, needed } = graph as NonNullable<typeof graph>;
      const order = [...columns];
      const factors = rows.map((mixture) => order.map((adapter) => mixture.get(adapter) ?? 0));
      const widths = new Set(needed.flatMap(({ kind, paths }) => (kind === "a" ? [paths.length] : [])));
      const gates = [...widths].map((n) => [gateName(n), poolGate(order, factors, n)] as const);
      return { decoding, feeds: Object.fromEntries(gates) };
    },
    close: async () => {
      await graph?.decoding.close();
      await runtime.drop(graph?.needed.map(({ name }) => name) ?? []);
      graph = null;
      covered = new WeakSet();
      columns = new Set();
    },
  };
}
