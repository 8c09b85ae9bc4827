/** Numbers as people read them. Pure. */

/** 96468992 → "92.0 MiB" */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = bytes < 1024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${power === 0 ? value : value.toFixed(value < 9.95 ? 2 : 1)} ${units[power]}`;
}

/** 252000 → "4m 12s"; below a minute with one decimal, below a second in ms. */
export function formatDuration(elapsedMs: number): string {
  if (elapsedMs < 999.5) return `${Math.max(0, Math.round(elapsedMs))} ms`;
  if (elapsedMs < 59_950) return `${(elapsedMs / 1000).toFixed(1)} s`;
  const seconds = Math.round(elapsedMs / 1000);
  const [days, hours] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24];
  const [minutes, rest] = [Math.floor(seconds / 60) % 60, seconds % 60];
  if (days > 0) return `${days}d ${hours}h`;
  return hours > 0 ? `${hours}h ${minutes}m` : `${minutes}m ${rest}s`;
}

/** 134515008 → "134.5M"; below ten thousand as it is. */
export function formatCount(count: number): string {
  if (count < 10_000) return String(Math.round(count));
  const units = ["", "K", "M", "G", "T"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(count * 1.0005) / 3));
  const value = count / 1000 ** power;
  return `${value.toFixed(value < 99.95 ? 2 : 1)}${units[power]}`;
}

/** 1234567 → "1,234,567" */
export function formatInteger(count: number): string {
  return Math.round(count).toLocaleString("en-US");
}

/** 0.0034 → "0.34%"; none at all is "0%". */
export function formatShare(share: number): string {
  if (share === 0) return "0%";
  return `${(share * 100).toFixed(share < 0.1 ? 2 : 1)}%`;
}

/** 812.4 → "812", 6.13 → "6.1": three digits or one decimal. */
export function formatRate(perSecond: number): string {
  return perSecond >= 99.95
    ? formatCount(Math.round(perSecond))
    : perSecond.toFixed(perSecond < 9.95 ? 2 : 1);
}

/** Nats to four decimals. */
export function formatLoss(loss: number): string {
  return loss.toFixed(4);
}

/** 0.000712 → "7.12e-4" */
export function formatLearningRate(rate: number): string {
  return rate === 0 ? "0" : rate.toExponential(2).replace(/\.?0+e/, "e");
}
