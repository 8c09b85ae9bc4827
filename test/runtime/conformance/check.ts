import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withHostInputs } from "../../../src/graph/lower/host-feeds.ts";
import { type Lowering, lower } from "../../../src/graph/lower/lower.ts";
import { serialize } from "../../../src/graph/onnx.ts";
import * as op from "../../../src/graph/ops/index.ts";
import { apply, constant, input, type Value } from "../../../src/graph/value.ts";
import type { Backend, BackendSession, GraphSource, LoadRequest } from "../../../src/runtime/backend.ts";
import { random } from "../../../src/tensor/random.ts";
import { floats, scalar, sizeOf, type Tensor } from "../../../src/tensor/tensor.ts";

/** A backend under test, and where its graphs and weights lie. */
export interface Subject {
  readonly backend: Backend;
  readonly folder: string;
  /** What its device has otherwise. */
  readonly lowering: Lowering | null;
}

/** One thing that a backend must do. */
export interface Check {
  readonly name: string;
  run(subject: Subject): Promise<void>;
}

/** Runs a check on a backend of its own. */
export async function holds(
  check: Check,
  open: () => Backend,
  lowering: Lowering | null = null,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "lowrank-backend-"));
  const backend = open();
  try {
    await check.run({ backend, folder, lowering });
  } finally {
    await backend.close();
    await rm(folder, { recursive: true });
  }
}

/** Name of the file that weights lie in. */
export const WEIGHTS = "weights.bin";

/** Loads a graph as the backend takes it: by its path, or as bytes with those of its weights. */
export async function load(
  subject: Subject,
  outputs: Readonly<Record<string, Value>>,
  options: Partial<LoadRequest> = {},
  weights: Uint8Array | null = null,
): Promise<BackendSession> {
  const { outputs: own, hostInputs } = subject.lowering
    ? lower(outputs, subject.lowering)
    : { outputs, hostInputs: new Map() };
  const graph = serialize(own);
  const operators = [...graph.opCounts.keys()];
  const keeps = Object.keys(outputs).filter((name) => /\.(next|new)$/.test(name));
  const rest = { operators, prepack: true, arena: true, profile: null, keeps, ...options };
  const session = await subject.backend.load({ graph: await placed(subject, graph.bytes, weights), ...rest });
  return {
    ...session,
    run: (feeds, how) => session.run(withHostInputs(graph.inputs, hostInputs, feeds), how),
  };
}

async function placed(
  { backend, folder }: Subject,
  bytes: Uint8Array,
  weights: Uint8Array | null,
): Promise<GraphSource> {
  if (!backend.supports.mappedWeights) return { bytes, files: weights ? { [WEIGHTS]: weights } : {} };
  const path = join(folder, "graph.onnx");
  if (weights) await writeFile(join(folder, WEIGHTS), weights);
  await writeFile(path, bytes);
  return { path };
}

/** A float32 vector. */
export function row(...values: number[]): Tensor {
  return floats(Float32Array.from(values), [values.length]);
}

/** Its elements as numbers. */
export function numbers(tensor: Tensor | undefined): number[] {
  return Array.from((tensor as Tensor).data as ArrayLike<number | bigint>, Number);
}

/** Random float32 elements. */
export function normals(seed: string, shape: readonly number[]): Tensor {
  const generator = random(1, seed);
  return floats(
    Float32Array.from({ length: sizeOf(shape) }, () => generator.normal()),
    shape,
  );
}

/** A kept tensor. */
export async function kept({ backend }: Subject, name: string): Promise<Tensor> {
  return (await backend.get([name]))[name] as Tensor;
}

/** Vectors of one size. */
export const x: Value = input("x", "float32", ["n"]);
export const y: Value = input("y", "float32", ["n"]);
/** [m, 2] */
export const rows: Value = input("rows", "float32", ["m", 2]);
/** x + 1, and whether Σx is above 2. */
export const NEXT: Readonly<Record<string, Value>> = {
  "x.next": op.add(x, constant(row(1))),
  isLarge: apply("Greater", [op.sumAll(x), constant(scalar(2))], [], {}, null, "bool"),
};
