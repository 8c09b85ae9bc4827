import type { Example } from "./batch.ts";
import { compareTokens, trieSize } from "./trie.ts";

/** Examples in `members` parts whose batches compute about the same number of tokens: in the order of their tokens, cut so that the largest
 *  part is as small as it can be. So what examples begin with alike is computed in as few parts as possible. Same examples, same parts;
 *  with more members than examples some have none. `packedSize`: tokens that a batch computes. */
export function shareOut(
  examples: readonly Example[],
  members: number,
  packedSize: (examples: readonly Example[]) => number = trieSize,
): Example[][] {
  const sorted = examples
    .map((example) => ({ example, ids: example.ids, length: example.ids.length }))
    .sort((a, b) => compareTokens(a, b) || a.example.index - b.example.index)
    .map(({ example }) => example);
  const alone = sorted.map((example) => packedSize([example]));
  /** Tokens that an example adds to a part that the one before it is in. */
  const added = sorted.map((example, i) => {
    const before = sorted[i - 1];
    return before === undefined ? 0 : packedSize([before, example]) - (alone[i - 1] as number);
  });
  const cut = (limit: number): Example[][] => {
    const parts: Example[][] = [];
    let size = Number.POSITIVE_INFINITY;
    for (const [i, example] of sorted.entries()) {
      const more = added[i] as number;
      if (size + more > limit) {
        parts.push([]);
        size = alone[i] as number;
      } else size += more;
      parts.at(-1)?.push(example);
    }
    return parts;
  };
  const parts = cut(leastLimit(alone, added, (limit) => cut(limit).length <= members));
  return Array.from({ length: members }, (_, i) => parts[i] ?? []);
}

/** The least size of a part with which all examples find a place. */
function leastLimit(
  alone: readonly number[],
  added: readonly number[],
  fits: (limit: number) => boolean,
): number {
  let low = Math.max(0, ...alone);
  let high = (alone[0] ?? 0) + added.reduce((sum, n) => sum + n, 0);
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (fits(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
