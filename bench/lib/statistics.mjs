/** The middle value; of an even count the mean of the two. */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2;
}

export function geometricMean(values) {
  return Math.exp(values.reduce((sum, x) => sum + Math.log(x), 0) / values.length);
}

export function sum(values) {
  return values.reduce((a, b) => a + b, 0);
}

/** Largest difference of two lists, as far as both go. */
export function largestDifference(a, b) {
  return Math.max(...a.slice(0, b.length).map((x, i) => Math.abs(x - b[i])));
}
