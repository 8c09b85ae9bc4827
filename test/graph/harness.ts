import { readFileSync } from "node:fs";
import { gradients } from "../../src/graph/gradients.ts";
import * as op from "../../src/graph/ops/index.ts";
import { constant, input, type Value } from "../../src/graph/value.ts";
import type { Runtime, Session } from "../../src/runtime/runtime.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { floats, ints, longs, type Tensor } from "../../src/tensor/tensor.ts";

/** A tensor as the fixtures write it. */
export interface PlainTensor {
  readonly dtype: "float32" | "int32" | "int64";
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

/** One case of test/fixtures/ops/ops.json. */
export interface OpCase {
  readonly name: string;
  readonly op: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly inputs: Readonly<Record<string, PlainTensor>>;
  readonly outputs: readonly PlainTensor[];
  readonly upstream: readonly PlainTensor[];
  readonly gradients: Readonly<Record<string, PlainTensor>>;
}

/** Builds the graph of a case from its inputs. */
export type Build = (inputs: Readonly<Record<string, Value>>, c: OpCase) => Value | readonly Value[];

/** A case made ready to run: forward values, and the gradients of Σ⟨upstream, output⟩. */
export interface BuiltCase {
  readonly session: Session;
  readonly feeds: Readonly<Record<string, Tensor>>;
  readonly outputNames: readonly string[];
}

const FIXTURES = new URL("../fixtures/", import.meta.url);

/** JSON below test/fixtures. */
export function readFixture<T>(path: string): T {
  return JSON.parse(readFileSync(new URL(path, FIXTURES), "utf8")) as T;
}

/** Host tensor of a fixture's tensor. */
export function toTensor(t: PlainTensor): Tensor {
  if (t.dtype === "int32") return ints(Int32Array.from(t.data), t.shape);
  if (t.dtype === "int64") return longs(BigInt64Array.from(t.data, BigInt), t.shape);
  return floats(Float32Array.from(t.data), t.shape);
}

/** Elements as numbers. */
export function numbers(t: Tensor): number[] {
  return Array.from(t.data as ArrayLike<number | bigint>, Number);
}

/** Largest |got − want| over the largest |want| (or over 1e-6, where all of `want` is smaller still). */
export function relativeError(got: readonly number[], want: readonly number[]): number {
  if (got.length !== want.length) return Number.POSITIVE_INFINITY;
  const scale = Math.max(1e-6, ...want.map(Math.abs));
  return got.reduce((worst, g, i) => {
    const error = Math.abs(g - (want[i] as number)) / scale;
    return Number.isNaN(error) ? Number.POSITIVE_INFINITY : Math.max(worst, error);
  }, 0);
}

/** Loads a case: outputs `y0`, `y1`, … and, for each differentiable input, `d <name>`. */
export async function buildCase(runtime: Runtime, c: OpCase, build: Build): Promise<BuiltCase> {
  const values = Object.fromEntries(
    Object.entries(c.inputs).map(([name, t]) => [name, input(name, t.dtype as DType, t.shape)]),
  );
  const built = build(values, c);
  const ys = Array.isArray(built) ? (built as readonly Value[]) : [built as Value];
  const outputs: Record<string, Value> = Object.fromEntries(ys.map((y, i) => [`y${i}`, y]));
  const outputNames = Object.keys(outputs);
  const wrt = Object.keys(c.gradients);
  if (wrt.length > 0) {
    const terms = ys.map((y, i) => op.sumAll(op.mul(y, constant(toTensor(c.upstream[i] as PlainTensor)))));
    const dxs = gradients(
      op.total(terms),
      wrt.map((name) => values[name] as Value),
    );
    wrt.forEach((name, i) => {
      if (dxs[i]) outputs[`d ${name}`] = dxs[i];
    });
  }
  const feeds = Object.fromEntries(Object.entries(c.inputs).map(([name, t]) => [name, toTensor(t)]));
  return { session: await runtime.load(outputs), feeds, outputNames };
}

/** d/dx[i] Σ⟨upstream, output⟩ for every element of input `name`: central differences of fp32 runs summed in fp64, at two
 *  step widths, extrapolated to width 0 (Richardson: the error falls from h² to h⁴). */
export async function finiteDifferences(built: BuiltCase, c: OpCase, name: string): Promise<number[]> {
  const at = numbers(built.feeds[name] as Tensor);
  const spread = Math.max(...at) - Math.min(...at) || 1;
  const step = 1e-2 * Math.min(1, spread);
  const slopes: number[] = [];
  for (let i = 0; i < at.length; i++) {
    const narrow = await slope(built, c, name, i, step);
    const wide = await slope(built, c, name, i, 2 * step);
    slopes.push((4 * narrow - wide) / 3);
  }
  return slopes;
}

async function slope(built: BuiltCase, c: OpCase, name: string, i: number, step: number): Promise<number> {
  const high = await probe(built, c, name, i, step);
  const low = await probe(built, c, name, i, -step);
  return (high.objective - low.objective) / (high.x - low.x); // x as fp32 holds it
}

async function probe(built: BuiltCase, c: OpCase, name: string, i: number, step: number) {
  const at = built.feeds[name] as Tensor;
  const data = (at.data as Float32Array).slice();
  data[i] = (data[i] as number) + step;
  const feeds = { ...built.feeds, [name]: floats(data, at.shape) };
  const ys = await built.session.run(feeds, { fetch: built.outputNames });
  const objective = built.outputNames.reduce((sum, y, k) => {
    const weights = (c.upstream[k] as PlainTensor).data;
    return sum + numbers(ys[y] as Tensor).reduce((s, v, j) => s + v * (weights[j] as number), 0);
  }, 0);
  return { objective, x: data[i] as number };
}
