/** What is read by index: an array, or records of which most are on disk. */
export interface Indexed<T> extends Iterable<T> {
  readonly length: number;
  /** Negative indices count from the end, as those of an array do; undefined where there is nothing. */
  at(index: number): T | undefined;
  /** As an array's. */
  slice(start?: number, end?: number): readonly T[];
}

/** The elements at `indices`, in that order, read when they are asked for. */
export function subset<T>(source: Indexed<T>, indices: Int32Array): Indexed<T> {
  return indexed(
    () => indices.length,
    (index) => source.at(indices[index] as number) as T,
  );
}

/** An `Indexed` of what `read` gives for 0 … length − 1. */
export function indexed<T>(length: () => number, read: (index: number) => T): Indexed<T> {
  /** A bound as arrays take it: negative ones from the end, all of them within 0 … length. */
  const bound = (at: number): number => Math.min(length(), Math.max(0, at < 0 ? length() + at : at));
  return {
    get length() {
      return length();
    },
    at: (index) => {
      const i = index < 0 ? length() + index : index;
      return i >= 0 && i < length() ? read(i) : undefined;
    },
    slice: (start = 0, end = length()) => {
      const first = bound(start);
      return Array.from({ length: Math.max(0, bound(end) - first) }, (_, i) => read(first + i));
    },
    *[Symbol.iterator]() {
      for (let i = 0; i < length(); i++) yield read(i);
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
