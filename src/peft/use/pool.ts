import { add, concat, linear, mul, repeatDim, splitEvenly } from "../../graph/ops/index.ts";
import { input, known, type Value } from "../../graph/value.ts";
import type { ForwardContext } from "../../models/context.ts";
import { type ModuleSpec, outputModule } from "../../models/family.ts";
import { type FloatTensor, floats, type Tensor } from "../../tensor/tensor.ts";
import type { OpenedAdapter } from "../files/parts.ts";
import { isPlainLora, type Lora } from "../methods/lora.ts";
import { unflatten } from "../parameters.ts";

/** An adapter whose whole effect is updates of linear modules, as products B·A. */
export interface PooledAdapter {
  /** Largest rank of its modules. */
  readonly rank: number;
  /** By module path: A [r, in], and B [out, r] times the scaling. */
  readonly updates: ReadonlyMap<string, { readonly a: FloatTensor; readonly b: FloatTensor }>;
}

/** A tensor of a pool's graph, which `poolTensors` fills: of A's of several modules stacked, or of one module's B. */
export interface PoolTensor {
  readonly name: string;
  readonly kind: "a" | "b";
  readonly paths: readonly string[];
  /** Input features of an A, output features of a B. */
  readonly size: number;
}

/** Name of the factors of each row's columns, [R, 1, n·S], for n modules side by side. */
export function gateName(modules: number): string {
  return `pool.gate.${modules}`;
}

/** The adapter as one of a pool, or null: it does more than to update linear modules of the layers. (The output layer is asked for
 *  some tokens only, which are no rows.) */
export function pooledAdapter(
  { methods, theta }: OpenedAdapter,
  modules: readonly ModuleSpec[],
): PooledAdapter | null {
  const [method] = methods;
  if (
    methods.length !== 1 ||
    method === undefined ||
    !isPlainLora(method) ||
    !isUpdateOnly(method, outputModule(modules)?.path)
  )
    return null;
  const values = unflatten(theta, method.trainables);
  const updates = new Map<string, { a: FloatTensor; b: FloatTensor }>();
  for (const { path, scaling } of method.plan.modules) {
    const [a, b] = [values.get(`${path}.loraA`), values.get(`${path}.loraB`)] as [FloatTensor, FloatTensor];
    updates.set(path, {
      a,
      b: floats(
        b.data.map((x) => x * scaling),
        b.shape,
      ),
    });
  }
  return { rank: Math.max(...method.plan.modules.map((m) => m.rank)), updates };
}

function isUpdateOnly({ plan }: Lora, output: string | undefined): boolean {
  const isLinear = plan.modules.every((m) => m.kind === "linear" && !m.hasBias && m.path !== output);
  return isLinear && !plan.dora && plan.saved.length === 0 && plan.biases.length === 0;
}

/** The context in which each row has updates of its own: those of all adapters of a pool are computed, Σ B·diag(gate)·A, and `gate` is a
 *  row's factor on each column, 0 for adapters of others. Adapters come and go, and have any ranks, without another graph: S, the sum of
 *  ranks, is known when it runs. `needed` collects the tensors that it takes. Not differentiable. */
export function pooledContext(
  ctx: ForwardContext,
  paths: ReadonlySet<string>,
  needed: PoolTensor[],
): ForwardContext {
  const sizeOf = (path: string, axis: number): number =>
    known(ctx.linearWeights(path).weight.shape[axis], path);
  const stackedA = (all: readonly string[]): Value => {
    const size = sizeOf(all[0] as string, 1);
    const name = `pool.${all.join("+")}.a`;
    needed.push({ name, kind: "a", paths: all, size });
    return input(name, "float32", [repeatDim(all.length, "S"), size]);
  };
  const ownB = (path: string): Value => {
    const size = sizeOf(path, 0);
    const name = `pool.${path}.b`;
    needed.push({ name, kind: "b", paths: [path], size });
    return input(name, "float32", [size, "S"]);
  };
  const gates = new Map<number, Value>();
  const gateOf = (modules: number): Value => {
    const gate = gates.get(modules) ?? input(gateName(modules), "float32", ["R", 1, repeatDim(modules, "S")]);
    gates.set(modules, gate);
    return gate;
  };
  const updates = (all: readonly string[], x: Value): Value => {
    const gated = mul(linear(x, stackedA(all)), gateOf(all.length));
    const inner = splitEvenly(gated, all.length, 2);
    return concat(
      all.map((path, i) => linear(inner[i] as Value, ownB(path))),
      2,
    );
  };
  return {
    ...ctx,
    linear: (path, x) =>
      paths.has(path) ? add(ctx.linear(path, x), updates([path], x)) : ctx.linear(path, x),
    joined: (all, x) => {
      const y = ctx.joined(all, x);
      return y && all.some((path) => paths.has(path)) ? add(y, updates(all, x)) : y;
    },
  };
}

/** Tensors of a graph for some adapters, their columns in this order. A module that an adapter does not update has zeros. */
export function poolTensors(
  needed: readonly PoolTensor[],
  adapters: readonly PooledAdapter[],
): Record<string, Tensor> {
  const columns = adapters.reduce((n, { rank }) => n + rank, 0);
  return Object.fromEntries(
    needed.map(({ name, kind, paths, size }) => [
      name,
      kind === "a"
        ? rowsOf(paths, adapters, columns, size)
        : columnsOf(paths[0] as string, adapters, columns, size),
    ]),
  );
}

/** A's below each other, [n·S, in]: module by module, in each adapter by adapter. */
function rowsOf(
  paths: readonly string[],
  adapters: readonly PooledAdapter[],
  columns: number,
  size: number,
): Tensor {
  const data = new Float32Array(paths.length * columns * size);
  paths.forEach((path, m) => {
    let row = m * columns;
    for (const { rank, updates } of adapters) {
      const a = updates.get(path)?.a;
      if (a) data.set(a.data, row * size);
      row += rank;
    }
  });
  return floats(data, [paths.length * columns, size]);
}

/** B's side by side, [out, S]. */
function columnsOf(path: string, adapters: readonly PooledAdapter[], columns: number, size: number): Tensor {
  const data = new Float32Array(size * columns);
  let column = 0;
  for (const { rank, updates } of adapters) {
    const b = updates.get(path)?.b;
    if (b) {
      const own = b.shape[1] as number;
      // A view for each of so many short rows takes ten times as long.
      for (let i = 0; i < size; i++)
        for (let j = 0; j < own; j++) data[i * columns + column + j] = b.data[i * own + j] as number;
    }
    column += rank;
  }
  return floats(data, [size, columns]);
}

/** Factors of rows on columns, [R, 1, n·S] for n modules side by side. `rows`: of each row, the factor of each adapter (0: not its). */
export function poolGate(
  adapters: readonly PooledAdapter[],
  rows: readonly (readonly number[])[],
  modules: number,
): Tensor {
  const columns = adapters.reduce((n, { rank }) => n + rank, 0);
  const data = new Float32Array(rows.length * modules * columns);
  rows.forEach((factors, r) => {
    let column = 0;
    adapters.forEach(({ rank }, i) => {
      for (let m = 0; m < modules; m++) {
        const from = (r * modules + m) * columns + column;
        data.fill(factors[i] as number, from, from + rank);
      }
      column += rank;
    });
  });
  return floats(data, [rows.length, 1, modules * columns]);
}
