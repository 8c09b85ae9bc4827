import type { Example } from "../../src/data/batch.ts";
import type { Random } from "../../src/tensor/random.ts";

/** An example from tokens, the first `promptLength` of which are not labels. */
export function example(index: number, tokens: readonly number[], promptLength: number): Example {
  const isLabel = Uint8Array.from(tokens, (_, i) => (i >= Math.max(1, promptLength) ? 1 : 0));
  return { ids: Int32Array.from(tokens), isLabel, index };
}

/** Examples as data sets have them: a shared header, few tokens (so that prefixes coincide), prompts with several
 *  completions, nested prefixes, exact repeats, and labels in the middle of an example (several turns). */
export function randomExamples(count: number, rng: Random): Example[] {
  const word = (length: number): number[] => Array.from({ length }, () => 1 + rng.below(3));
  const header = word(rng.below(4));
  const examples: Example[] = [];
  for (let index = 0; index < count; index++) {
    const before = index > 0 ? (examples[rng.below(index)] as Example) : undefined;
    const kind = before === undefined ? 0 : rng.below(6);
    if (before !== undefined && kind === 1) examples.push({ ...before, index });
    else if (before !== undefined && kind === 2)
      examples.push(example(index, [...before.ids, ...word(1 + rng.below(4))], before.ids.length));
    else if (before !== undefined && kind === 3) {
      const kept = Array.from(before.ids.subarray(0, 1 + rng.below(before.ids.length)));
      examples.push(example(index, [...kept, ...word(1 + rng.below(3))], kept.length));
    } else {
      const made = example(index, [...header, ...word(1 + rng.below(8)), 0], header.length + rng.below(3));
      for (let i = 1; i < made.ids.length - 1; i++) if (rng.below(3) === 0) made.isLabel[i] = 0;
      examples.push(made);
    }
  }
  return examples;
}
