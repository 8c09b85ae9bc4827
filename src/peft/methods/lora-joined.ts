import { concat, linear, scale } from "../../graph/ops/index.ts";
import { int64s } from "../../graph/ops/reduce.ts";
import { apply, constant, known, type Value } from "../../graph/value.ts";
import { floats } from "../../tensor/tensor.ts";

/** What LoRA adds to one of several linear modules with the same input. */
export interface Branch {
  readonly outSize: number;
  /** null: nothing. A [r, in], B [out, r]. */
  readonly factors: { readonly a: Value; readonly b: Value; readonly scaling: number } | null;
}

/** Zeros that the stacked B may hold. More of them take longer to read than the nodes that are spared. */
const MAX_ZEROS = 2 ** 16;

/** Updates of modules side by side, [R, T, Σ out], by two products: x · [A₁; …]ᵀ · diag(s₁B₁, …)ᵀ. null where the second
 *  matrix would be mostly zeros. Not differentiable. */
export function joinedBranches(branches: readonly Branch[], x: Value): Value | null {
  const ranks = branches.map(({ factors }) => (factors ? known(factors.a.shape[0], "rank") : 0));
  const rank = ranks.reduce((n, r) => n + r, 0);
  const zeros = branches.reduce((n, { outSize }, i) => n + outSize * (rank - (ranks[i] as number)), 0);
  if (zeros > MAX_ZEROS) return null;
  const a = branches.flatMap(({ factors }) => factors?.a ?? []);
  let before = 0;
  const b = branches.map(({ outSize, factors }, i) => {
    const own = ranks[i] as number;
    const rows = factors
      ? padded(scale(factors.b, factors.scaling), before, rank - before - own)
      : constant(floats(new Float32Array(outSize * rank), [outSize, rank]));
    before += own;
    return rows;
  });
  return linear(linear(x, concat(a, 0)), concat(b, 0));
}

/** Columns of zeros before and after: [n, r] → [n, before + r + after]. */
function padded(x: Value, before: number, after: number): Value {
  const [n, r] = x.shape as [number, number];
  return apply("Pad", [x, int64s([0, before, 0, after])], [n, before + r + after], {}, null);
}
