import type { Cache } from "./cache.ts";

/** Rows of a cache, the first of it, that outlive their answers for prompts that begin alike. */
export interface KeptRows {
  readonly count: number;
  /** Tokens in common with the row that has the most of them, under the same voice, and where it is; null where it is not worth a
   *  copy. `others`: rows under way. */
  find(
    voice: string,
    ids: readonly number[],
    others: readonly HeldRow[],
  ): { at: number; common: number } | null;
  /** Copies a row to one of them: that of which it goes on, or that used least recently. */
  keep(row: HeldRow): Promise<void>;
  /** Some hold tokens. */
  readonly isUsed: boolean;
  /** Forgets all of them. */
  clear(): void;
}

/** Tokens whose keys and values a row of the cache holds. */
export interface HeldRow {
  /** Index in the cache. */
  readonly at: number;
  /** Keys and values of equal tokens are equal under the same. */
  readonly voice: string;
  readonly ids: readonly number[];
}

/** Tokens in common from which on copying is worth it. */
const SHARED_TOKENS = 16;

/** None yet, room for `count`. */
export function createKeptRows(cache: Cache, count: number): KeptRows {
  const kept: ((HeldRow & { usedAt: number }) | null)[] = Array.from({ length: count }, () => null);
  let clock = 0;
  const placeFor = ({ voice, ids }: HeldRow): number => {
    const before = kept.findIndex((k) => k?.voice === voice && commonLength(k.ids, ids) === k.ids.length);
    const ages = kept.map((k) => k?.usedAt ?? 0); // those that are free first
    return before >= 0 ? before : ages.indexOf(Math.min(...ages));
  };
  return {
    count,
    get isUsed() {
      return kept.some((k) => k !== null);
    },
    find: (voice, ids, others) => {
      const most = ids.length - 1; // the last one's logits are wanted
      const alike = [...kept.flatMap((k) => k ?? []), ...others]
        .filter((row) => row.voice === voice)
        .map((row) => ({ at: row.at, common: Math.min(commonLength(row.ids, ids), most) }));
      const best = alike.reduce((a, b) => (b.common > a.common ? b : a), { at: -1, common: 0 });
      if (best.common < SHARED_TOKENS) return null;
      const own = kept[best.at];
      if (own) own.usedAt = ++clock;
      return best;
    },
    keep: async (row) => {
      if (row.ids.length < SHARED_TOKENS || count === 0) return;
      const at = placeFor(row);
      await cache.copy(row.at, at);
      kept[at] = { ...row, at, usedAt: ++clock };
    },
    clear: () => void kept.fill(null),
  };
}

function commonLength(a: readonly number[], b: readonly number[]): number {
  let n = 0;
  while (n < a.length && n < b.length && a[n] === b[n]) n++;
  return n;
}
