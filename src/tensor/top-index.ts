/** Index of the largest; of equals the first. */
export function topIndex(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}

/** Indices of the k largest, the largest first; of equals the lower index. All of them where there are fewer. */
export function topIndices(values: Float32Array, k: number): number[] {
  if (k === 0) return [];
  const least = k < values.length ? kthLargest(values, k) : -Infinity;
  const above: number[] = [];
  const equal: number[] = [];
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    if (value > least) above.push(i);
    else if (value === least && equal.length < k) equal.push(i);
  }
  above.sort((a, b) => (values[b] as number) - (values[a] as number) || a - b);
  return [...above, ...equal].slice(0, k);
}

/** k-th largest, for k from 1 to the number of values: by a heap of the k largest seen, the smallest on top. */
export function kthLargest(values: Float32Array, k: number): number {
  const heap = values.slice(0, k).sort();
  let least = heap[0] as number;
  for (let i = k; i < values.length; i++) {
    const value = values[i] as number;
    if (value <= least) continue;
    replaceTop(heap, value);
    least = heap[0] as number;
  }
  return least;
}

function replaceTop(heap: Float32Array, value: number): void {
  let at = 0;
  for (let child = 1; child < heap.length; child = 2 * at + 1) {
    if (child + 1 < heap.length && (heap[child + 1] as number) < (heap[child] as number)) child++;
    if ((heap[child] as number) >= value) break;
    heap[at] = heap[child] as number;
    at = child;
  }
  heap[at] = value;
}
