/** The least likely token of a nucleus: its place among the weights. */
export interface Cut {
  readonly at: number;
  readonly weight: number;
}

/** Less likely than the cut; of equally likely tokens the later one is. */
export function isLess(weight: number, at: number, cut: Cut): boolean {
  return weight < cut.weight || (weight === cut.weight && at > cut.at);
}

const SORTED_AT_ONCE = 64;

/** Last token, from the most likely on, with which the weights reach `mass`. Found by splitting around a pivot and going on with the side
 *  that holds it (quickselect by weight), in linear time on average. */
export function nucleusCut(weights: Float64Array, mass: number): Cut {
  const weightOf = (at: number): number => weights[at] as number;
  let pool = Int32Array.from(weights.keys());
  let reached = 0;
  while (pool.length > SORTED_AT_ONCE) {
    const pivot = weightOf(pool[pool.length >> 1] as number);
    const [above, below] = [new Int32Array(pool.length), new Int32Array(pool.length)];
    let [aboveCount, belowCount, sum] = [0, 0, 0];
    for (const at of pool) {
      const weight = weightOf(at);
      if (weight < pivot) below[belowCount++] = at;
      else if (weight > pivot) {
        above[aboveCount++] = at;
        sum += weight;
      }
    }
    if (aboveCount > 0 && reached + sum >= mass) pool = above.subarray(0, aboveCount);
    else {
      reached += sum;
      const needed = Math.max(1, Math.ceil((mass - reached) / pivot));
      const equalCount = pool.length - aboveCount - belowCount;
      if (needed <= equalCount)
        return { at: pool.filter((at) => weightOf(at) === pivot)[needed - 1] as number, weight: pivot };
      reached += equalCount * pivot;
      pool = below.subarray(0, belowCount);
    }
  }
  for (const at of pool.sort((a, b) => weightOf(b) - weightOf(a) || a - b)) {
    reached += weightOf(at);
    if (reached >= mass) return { at, weight: weightOf(at) };
  }
  return { at: weights.length, weight: 0 }; // rounding left a crumb: everything is in
}
