import type { Measures } from "./measures.ts";

/** Accuracy, F1 and Matthews' correlation of predicted labels against the given ones, both as indices below `count`. */
export function classMeasures(
  labels: readonly number[],
  predictions: readonly number[],
  count: number,
): Measures {
  const given = new Float64Array(count);
  const predicted = new Float64Array(count);
  const hits = new Float64Array(count);
  labels.forEach((label, i) => {
    const prediction = predictions[i] as number;
    (given[label] as number)++;
    (predicted[prediction] as number)++;
    if (label === prediction) (hits[label] as number)++;
  });
  const right = hits.reduce((a, b) => a + b, 0);
  // 2·precision·recall / (precision + recall) = 2·hits / (given + predicted); none for a label that is in neither.
  const f1s = Array.from(hits, (n, c) => (2 * n) / ((given[c] as number) + (predicted[c] as number)));
  const present = f1s.filter((f1) => !Number.isNaN(f1));
  return {
    accuracy: right / labels.length,
    ...(count === 2 ? { f1: Number.isNaN(f1s[1]) ? 0 : (f1s[1] as number) } : {}),
    f1Macro: present.reduce((a, b) => a + b, 0) / present.length,
    matthews: matthews(right, labels.length, given, predicted),
  };
}

/** (c·s − Σ pₖtₖ) / √((s² − Σ pₖ²)(s² − Σ tₖ²)), c right of s, k predicted pₖ and given tₖ times (Gorodkin 2004); 0 where
 *  either are all the same. */
function matthews(right: number, size: number, given: Float64Array, predicted: Float64Array): number {
  const dot = (a: Float64Array, b: Float64Array): number =>
    a.reduce((n, x, i) => n + x * (b[i] as number), 0);
  const spread = (size ** 2 - dot(predicted, predicted)) * (size ** 2 - dot(given, given));
  return spread === 0 ? 0 : (right * size - dot(given, predicted)) / Math.sqrt(spread);
}

/** Pearson's and Spearman's correlation; none where either side is all the same. */
export function valueMeasures(targets: readonly number[], predictions: readonly number[]): Measures {
  const pearson = correlation(targets, predictions);
  const spearman = correlation(ranks(targets), ranks(predictions));
  return { ...(pearson === null ? {} : { pearson }), ...(spearman === null ? {} : { spearman }) };
}

function correlation(a: readonly number[], b: readonly number[]): number | null {
  const mean = (x: readonly number[]): number => x.reduce((n, v) => n + v, 0) / x.length;
  const [meanA, meanB] = [mean(a), mean(b)];
  let [ab, aa, bb] = [0, 0, 0];
  a.forEach((x, i) => {
    const [da, db] = [x - meanA, (b[i] as number) - meanB];
    ab += da * db;
    aa += da * da;
    bb += db * db;
  });
  return aa === 0 || bb === 0 ? null : ab / Math.sqrt(aa * bb);
}

/** Ranks from 1; equals share the mean of theirs. */
function ranks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((i, j) => (values[i] as number) - (values[j] as number));
  const result = new Array<number>(values.length);
  for (let start = 0; start < order.length; ) {
    let end = start;
    while (end < order.length && values[order[end] as number] === values[order[start] as number]) end++;
    for (let k = start; k < end; k++) result[order[k] as number] = (start + end + 1) / 2;
    start = end;
  }
  return result;
}
