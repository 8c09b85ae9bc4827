/** The least likely token of a nucleus. */
export interface Cut {
  readonly id: number;
  readonly weight: number;
}

/** Less likely than the cut; of equally likely tokens the higher id is. */
export function isLess(weight: number, id: number, cut: Cut): boolean {
  return weight < cut.weight || (weight === cut.weight && id > cut.id);
}

/** Last token, from the most likely on, with which the weights [vocab], which add up to `total`, reach the share `topP`. */
export function nucleusCut(weights: Float64Array, total: number, topP: number): Cut {
  // Tokens below this weight have less than 1 − topP together: the nucleus is reached without them.
  const least = ((1 - topP) * total) / weights.length;
  const pool: number[] = [];
  for (let id = 0; id < weights.length; id++) {
    const weight = weights[id] as number;
    if (weight >= least && weight > 0) pool.push(id);
  }
  return cutOf(weights, Int32Array.from(pool), topP * total);
}

const SORTED_AT_ONCE = 64;

/** Found by splitting around a pivot and going on with the side that holds it (quickselect by weight), in linear time on
 *  average. */
function cutOf(weights: Float64Array, ids: Int32Array, mass: number): Cut {
  const weightOf = (id: number): number => weights[id] as number;
  let pool = ids;
  let reached = 0;
  while (pool.length > SORTED_AT_ONCE) {
    const pivot = weightOf(pool[pool.length >> 1] as number);
    const [above, below] = [new Int32Array(pool.length), new Int32Array(pool.length)];
    let [aboveCount, belowCount, sum] = [0, 0, 0];
    for (const id of pool) {
      const weight = weightOf(id);
      if (weight < pivot) below[belowCount++] = id;
      else if (weight > pivot) {
        above[aboveCount++] = id;
        sum += weight;
      }
    }
    if (aboveCount > 0 && reached + sum >= mass) pool = above.subarray(0, aboveCount);
    else {
      reached += sum;
      const needed = Math.max(1, Math.ceil((mass - reached) / pivot));
      const equalCount = pool.length - aboveCount - belowCount;
      if (needed <= equalCount)
        return { id: pool.filter((id) => weightOf(id) === pivot)[needed - 1] as number, weight: pivot };
      reached += equalCount * pivot;
      pool = below.subarray(0, belowCount);
    }
  }
  for (const id of pool.sort((a, b) => weightOf(b) - weightOf(a) || a - b)) {
    reached += weightOf(id);
    if (reached >= mass) return { id, weight: weightOf(id) };
  }
  return { id: weights.length, weight: 0 }; // rounding left a crumb: everything is in
}
