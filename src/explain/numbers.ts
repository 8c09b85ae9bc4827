/** Numbers as people read them. Pure. */

/** Three digits, "–" for what is not known: 21.5, 0.0312, 3.1e-5. */
export function digits(value: number | null): string {
  return rounded(value, 3);
}

/** The same with two. */
export function twoDigits(value: number | null): string {
  return rounded(value, 2);
}

function rounded(value: number | null, count: number): string {
  if (value === null) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1000 || size < 0.001) return value.toExponential(1);
  return value.toPrecision(count);
}

/** 0.0034 → "0.34%" */
export function percent(share: number | null): string {
  if (share === null) return "–";
  const value = 100 * share;
  if (value > 0 && value < 0.01) return `${value.toExponential(1)}%`;
  return `${value.toFixed(value < 10 ? 2 : 1)}%`;
}

/** "5.2 (7.9)": a number and, in brackets, its control. */
export function withControl(
  value: number | null,
  control: number | null,
  show: (value: number) => string = digits,
): string {
  if (value === null) return "–";
  return control === null ? show(value) : `${show(value)} (${show(control)})`;
}

/** 0.1349 → "0.13" */
export function hundredths(value: number): string {
  return value.toFixed(2);
}
