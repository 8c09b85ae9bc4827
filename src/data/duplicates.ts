import { sha256Bytes } from "../io/sha256.ts";
import { enlarged } from "./record-store.ts";

/** Rows that occur more than once: harmless for training, misleading in an evaluation. */
export interface Duplicates {
  /** Training rows equal to an earlier one. */
  readonly train: number;
  /** Validation rows that are also training rows. */
  readonly validation: number;
  /** Test rows that are also training rows. */
  readonly test: number;
}

/** 64 bits of a digest for each text of a list, by which equal ones are known: of ten million texts, two others meet with a
 *  probability of 3·10⁻⁶. */
export interface DigestList {
  add(text: string): void;
  /** In the order of the texts. */
  values(): BigUint64Array;
}

const DIGEST_BYTES = 8;

/** An empty list. */
export function digestList(): DigestList {
  let bytes = new Uint8Array(1024 * DIGEST_BYTES);
  let used = 0;
  return {
    add: (text) => {
      if (used === bytes.length) bytes = enlarged(bytes, new Uint8Array(2 * used));
      bytes.set(sha256Bytes(text).subarray(0, DIGEST_BYTES), used);
      used += DIGEST_BYTES;
    },
    values: () => new BigUint64Array(bytes.buffer, 0, used / DIGEST_BYTES),
  };
}

/** Counts duplicates by digests of the rows. Sorts `train`. */
export function findDuplicates(
  train: BigUint64Array,
  validation: BigUint64Array,
  test: BigUint64Array,
): Duplicates {
  train.sort();
  const known = (rows: BigUint64Array): number =>
    rows.reduce((n, row) => n + (isAmong(train, row) ? 1 : 0), 0);
  let repeated = 0;
  for (let i = 1; i < train.length; i++) if (train[i] === train[i - 1]) repeated++;
  return { train: repeated, validation: known(validation), test: known(test) };
}

/** Whether a value is in an ascending list. */
function isAmong(sorted: BigUint64Array, value: bigint): boolean {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as bigint) < value) low = middle + 1;
    else high = middle;
  }
  return sorted[low] === value;
}
