/** More points than pixels show nothing more. */
const MOST_POINTS = 2000;

/** Exponential moving average over about a twentieth of the run, with the start's bias corrected as in Adam. */
export function smooth(values: readonly number[]): number[] {
  const keep = 1 - 1 / Math.max(3, values.length / 20);
  let [average, weight] = [0, 0];
  return values.map((value) => {
    average = keep * average + (1 - keep) * value;
    weight = keep * weight + (1 - keep);
    return average / weight;
  });
}

/** At most `MOST_POINTS` points: means over equal stretches. */
export function thin(data: readonly (readonly [number, number])[]): (readonly [number, number])[] {
  if (data.length <= MOST_POINTS) return [...data];
  const stretch = Math.ceil(data.length / MOST_POINTS);
  return Array.from({ length: Math.ceil(data.length / stretch) }, (_, i) => {
    const part = data.slice(i * stretch, (i + 1) * stretch);
    const mean = (k: 0 | 1): number => part.reduce((sum, point) => sum + point[k], 0) / part.length;
    return [mean(0), mean(1)] as const;
  });
}
