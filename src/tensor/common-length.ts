/** Entries that two sequences begin with alike. */
export function commonLength(a: ArrayLike<number | string>, b: ArrayLike<number | string>): number {
  const limit = Math.min(a.length, b.length);
  let n = 0;
  while (n < limit && a[n] === b[n]) n++;
  return n;
}
