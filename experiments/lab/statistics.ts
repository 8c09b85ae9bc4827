/** Mean of values; NaN of none. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, x) => sum + x, 0) / values.length;
}

/** Standard deviation of a sample (n − 1); NaN of fewer than two. */
export function deviation(values: readonly number[]): number {
  const m = mean(values);
  return Math.sqrt(values.reduce((sum, x) => sum + (x - m) ** 2, 0) / (values.length - 1));
}

/** Median of values; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return ((low ?? Number.NaN) + (high ?? Number.NaN)) / 2;
}

/** Two-sided 5% points of Student's t for 1 to 10 degrees of freedom; beyond that the normal distribution's is near enough. */
const T_95 = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];

/** Half the width of the 95% confidence interval of mean(a) − mean(b) (Welch 1947); NaN where either has fewer than two values. */
export function differenceMargin(a: readonly number[], b: readonly number[]): number {
  const [va, vb] = [deviation(a) ** 2 / a.length, deviation(b) ** 2 / b.length];
  if (va + vb === 0) return 0;
  const freedom = (va + vb) ** 2 / (va ** 2 / (a.length - 1) + vb ** 2 / (b.length - 1));
  const t = T_95[Math.max(1, Math.floor(freedom)) - 1] ?? 1.96;
  return t * Math.sqrt(va + vb);
}

/** 1 where mean(a) is surely above mean(b), −1 where it is surely below, 0 where the difference is within noise, NaN where
 *  there are too few values to tell. */
export function compare(a: readonly number[], b: readonly number[]): number {
  const margin = differenceMargin(a, b);
  if (Number.isNaN(margin)) return Number.NaN;
  const difference = mean(a) - mean(b);
  return Math.abs(difference) <= margin ? 0 : Math.sign(difference);
}

/** "0.512 ± 0.013 (3)": mean, standard deviation, number of values; of one value no deviation. */
export function spread(values: readonly number[], digits = 3): string {
  if (values.length === 0) return "–";
  const text = mean(values).toFixed(digits);
  return values.length === 1
    ? `${text} (1)`
    : `${text} ± ${deviation(values).toFixed(digits)} (${values.length})`;
}
