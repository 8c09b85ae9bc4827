import { type Random, random } from "../../tensor/random.ts";

/** How the sign that wins at a place is chosen (TIES, Yadav et al. 2023 §3): by the sum of the values, or by their number. */
export type MajoritySign = "total" | "frequency";

/** Keeps the `density` share of largest magnitudes; of equals the first (PEFT's `magnitude_based_pruning`). */
export function prunedByMagnitude(x: Float32Array, density: number): Float32Array {
  if (density >= 1) return x;
  const keep = Math.trunc(density * x.length);
  const order = Uint32Array.from(x.keys()).sort(
    (i, j) => Math.abs(x[j] as number) - Math.abs(x[i] as number) || i - j,
  );
  const pruned = new Float32Array(x.length);
  for (const i of order.subarray(0, keep)) pruned[i] = x[i] as number;
  return pruned;
}

/** Keeps each element with probability `density` and divides it by that (DARE, Yu et al. 2023). */
export function prunedAtRandom(x: Float32Array, density: number, generator: Random): Float32Array {
  if (density >= 1) return x;
  return x.map((value) => (generator.uniform() < density ? value / density : 0));
}

/** Σ weights[i] · xs[i]. */
export function weightedSum(xs: readonly Float32Array[], weights: readonly number[]): Float32Array {
  const first = xs[0] as Float32Array;
  return first.map((_, k) =>
    xs.reduce((sum, x, i) => sum + Math.fround((weights[i] as number) * (x[k] as number)), 0),
  );
}

/** Weighted mean of the values whose sign is the majority's, element by element (TIES' disjoint merge). */
export function disjointMerge(
  xs: readonly Float32Array[],
  weights: readonly number[],
  majority: MajoritySign,
): Float32Array {
  const first = xs[0] as Float32Array;
  return first.map((_, k) => {
    const values = xs.map((x) => x[k] as number);
    const score = values.reduce((sum, v) => sum + (majority === "total" ? v : Math.sign(v)), 0);
    const sign = score >= 0 ? 1 : -1;
    const kept = values.map((v) => Math.sign(v) === sign);
    const sum = values.reduce((n, v, i) => n + (kept[i] ? (weights[i] as number) * v : 0), 0);
    return sum / Math.max(1, kept.filter(Boolean).length);
  });
}

/** Generator for one tensor of one adapter, so that results do not depend on the order of work. */
export function pruningStream(seed: number, module: string, slot: string, adapter: number): Random {
  return random(seed, `dare ${module} ${slot} ${adapter}`);
}
