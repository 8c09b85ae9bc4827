/** Numbers as people read them. */

export const NOT_KNOWN = "not known";

export function count(value: number): string {
  return value.toLocaleString("en-US");
}

/** 1,234,567 → "1.23 M" */
export function short(value: number): string {
  const format = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 3 });
  return format.format(value);
}

export function bytes(value: number): string {
  const k = value >= 2 ** 30 ? 3 : value >= 2 ** 20 ? 2 : 1;
  const [size, unit] = [value / 2 ** (10 * k), ["", "KiB", "MiB", "GiB"][k]];
  return `${size.toLocaleString("en-US", { maximumSignificantDigits: 3 })} ${unit}`;
}

/** 75_000 → "1 min 15 s" */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${(ms / 1000).toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function loss(value: number): string {
  return value.toFixed(3);
}

export function rate(value: number): string {
  return `${value.toLocaleString("en-US", { maximumFractionDigits: value < 10 ? 1 : 0 })} tokens/s`;
}

/** 0.0123 → "1.23%" */
export function share(value: number): string {
  return value.toLocaleString("en-US", { style: "percent", maximumSignificantDigits: 3 });
}
