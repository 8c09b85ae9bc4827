import type { TensorData } from "../../tensor/dtype.ts";
import { dimSizeBy } from "../dim-size.ts";
import { type Dim, type Node, resolve, type Value } from "../value.ts";

/** Sizes of a run's named dimensions. */
export type RunSizes = ReadonlyMap<string, number>;

/** A whole number that a run's sizes decide. */
export type Term = (sizes: RunSizes) => bigint;

/** Terms of dimensions. */
export function dimTerms(dims: readonly Dim[]): readonly Term[] {
  return dims.map((d) => (sizes) => BigInt(dimSizeBy(d, (name) => sizes.get(name))));
}

function zip(
  [a, b]: readonly (readonly Term[])[],
  combine: (x: bigint, y: bigint) => bigint,
): readonly Term[] {
  const [left, right] = [a, b] as [readonly Term[], readonly Term[]];
  const at = (terms: readonly Term[], i: number): Term => terms[terms.length === 1 ? 0 : i] as Term;
  const count = Math.max(left.length, right.length);
  return Array.from(
    { length: count },
    (_, i) => (sizes: RunSizes) => combine(at(left, i)(sizes), at(right, i)(sizes)),
  );
}

/** Arithmetic of shapes, by operator. */
const ARITHMETIC: Readonly<Record<string, (parts: readonly (readonly Term[])[]) => readonly Term[]>> = {
  Concat: (parts) => parts.flat(),
  Add: (parts) => zip(parts, (a, b) => a + b),
  Sub: (parts) => zip(parts, (a, b) => a - b),
  Mul: (parts) => zip(parts, (a, b) => a * b),
  Cast: ([terms]) => terms as readonly Term[], // to floats: an input of floats
};

function shapeTerms({ inputs, attributes }: Node): readonly Term[] {
  const { start = 0, end } = attributes as { start?: number; end?: number };
  return dimTerms(resolve(inputs[0] as Value).shape.slice(start, end));
}

/** What a vector that depends on shapes and whole constants alone is made of; null for every other value. `known`: those found so far. */
export function termsOf(node: Node, known: ReadonlyMap<Value, readonly Term[]>): readonly Term[] | null {
  const [out] = node.outputs as [Value];
  if (node.source?.kind === "constant" && out.dtype === "int64")
    return Array.from(node.source.tensor.data as Extract<TensorData, BigInt64Array>, (n) => () => n);
  if (node.opType === "Shape") return shapeTerms(node);
  if (node.opType === "Cast" && out.dtype !== "float32" && out.dtype !== "int64") return null;
  const parts = node.inputs.map((v) => v && known.get(resolve(v)));
  if (parts.length === 0 || parts.some((part) => !part)) return null;
  return ARITHMETIC[node.opType]?.(parts as (readonly Term[])[]) ?? null;
}

/** The numbers of terms that are the same at every run; null for others. */
export function fixedNumbers(terms: readonly Term[]): readonly number[] | null {
  const at = (size: number): number[] => {
    const sizes = new Map<string, number>();
    // Another size for every name, so that no difference or quotient of two is the same at both.
    const get = (name: string): number => {
      const own = sizes.get(name) ?? size * (sizes.size + 1) ** 2;
      sizes.set(name, own);
      return own;
    };
    const all = { get } as unknown as RunSizes;
    return terms.map((term) => Number(term(all)));
  };
  const [one, other] = [at(12), at(1020)];
  return one.every((n, i) => n === other[i]) ? one : null;
}
