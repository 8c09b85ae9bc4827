import type { LoraFactors } from "../formats/lora-factors.ts";
import { type Matrix, matrix, product } from "../tensor/linear-algebra.ts";
import type { ModuleUpdate } from "./update.ts";

/** An update that is a product. */
export function factorUpdate(factors: LoraFactors): ModuleUpdate {
  const { path, kind, a, b } = factors;
  const shape = [b.shape[0] as number, a.shape[1] as number] as const;
  return { path, kind, shape, factors, delta: async () => productOf(factors) };
}

/** s·B·A. */
function productOf({ a, b, scaling }: LoraFactors): Matrix {
  const [rank, inSize] = a.shape as [number, number];
  const scaled = matrix(
    b.shape[0] as number,
    rank,
    b.data.map((x) => x * scaling),
  );
  return product(scaled, matrix(rank, inSize, a.data));
}
