/** What is read by index: an array, or records of which most are on disk. */
export interface Indexed<T> extends Iterable<T> {
  readonly length: number;
  /** Undefined outside 0 … length − 1. */
  at(index: number): T | undefined;
  slice(start?: number, end?: number): readonly T[];
}

/** The elements at `indices`, in that order, read when they are asked for. */
export function subset<T>(source: Indexed<T>, indices: Int32Array): Indexed<T> {
  const at = (index: number): T | undefined => {
    const i = indices[index];
    return i === undefined ? undefined : source.at(i);
  };
  return indexed(() => indices.length, at);
}

/** An `Indexed` of what `at` gives. */
export function indexed<T>(length: () => number, at: (index: number) => T | undefined): Indexed<T> {
  const range = (start: number, end: number): T[] =>
    Array.from({ length: Math.max(0, Math.min(end, length()) - start) }, (_, i) => at(start + i) as T);
  return {
    get length() {
      return length();
    },
    at,
    slice: (start = 0, end = length()) => range(start, end),
    *[Symbol.iterator]() {
      for (let i = 0; i < length(); i++) yield at(i) as T;
    },
  };
}

/** Indices of the elements that are kept. */
export function indicesWhere<T>(
  elements: Iterable<T>,
  keeps: (element: T, index: number) => boolean,
): Int32Array {
  const kept: number[] = [];
  let index = 0;
  for (const element of elements) {
    if (keeps(element, index)) kept.push(index);
    index++;
  }
  return Int32Array.from(kept);
}
