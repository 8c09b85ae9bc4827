import type { Example, Sequence } from "../data/batch.ts";
import { UnsupportedError } from "../errors.ts";
import type { Method } from "./method.ts";

/** Where the virtual tokens of a model's methods go, as ids. */
export interface VirtualLayout {
  /** In front of every sequence. */
  readonly prefix: readonly number[];
  /** Between prompt and completion. */
  readonly infix: readonly number[];
}

/** Ids of the virtual tokens that methods add; they count on from the vocabulary's size.
 *  @throws UnsupportedError if several methods add tokens */
export function virtualLayout(methods: readonly Method[], vocabSize: number): VirtualLayout {
  const adding = methods.filter((m) => m.virtualTokens !== null);
  if (adding.length > 1)
    throw new UnsupportedError(
      `${adding.map((m) => m.name).join(" and ")} cannot be combined: each puts tokens into the sequence`,
    );
  const { prefix = 0, infix = 0 } = adding[0]?.virtualTokens ?? {};
  const ids = Array.from({ length: prefix + infix }, (_, i) => vocabSize + i);
  return { prefix: ids.slice(0, prefix), infix: ids.slice(prefix) };
}

/** Tokens that a layout adds to a sequence. */
export function virtualCount(layout: VirtualLayout): number {
  return layout.prefix.length + layout.infix.length;
}

/** A prompt with its virtual tokens: the infix in front of the first answer, which in a conversation is one that was given
 *  already; at `answerStart`, by default the end. So an answer has the tokens before it that it had in training. */
export function virtualPrompt(
  ids: readonly number[],
  layout: VirtualLayout,
  answerStart: number = ids.length,
): readonly number[] {
  if (virtualCount(layout) === 0) return ids;
  return [...layout.prefix, ...ids.slice(0, answerStart), ...layout.infix, ...ids.slice(answerStart)];
}

/** An example with its virtual tokens: the infix once, in front of the first answer (of plain text, after the first token).
 *  They are nodes of the trie like any other, so examples share a prefix, and packing stays exact. */
export function virtualExample(example: Example, layout: VirtualLayout): Example {
  if (virtualCount(layout) === 0) return example;
  return eachSequence(example, (sequence) => withVirtual(sequence, layout));
}

function withVirtual({ ids, isLabel, answerStart }: Sequence, layout: VirtualLayout): Sequence {
  const first = answerStart ?? Math.max(1, isLabel.indexOf(1));
  const all = Int32Array.from(virtualPrompt(Array.from(ids), layout, first));
  const labels = new Uint8Array(all.length);
  labels.set(isLabel.subarray(0, first), layout.prefix.length);
  labels.set(isLabel.subarray(first), first + virtualCount(layout));
  return { ids: all, isLabel: labels };
}

function eachSequence(example: Example, change: (sequence: Sequence) => Sequence): Example {
  const { ids: _, isLabel: __, answerStart: ___, branches, ...rest } = example;
  return { ...rest, ...change(example), ...(branches ? { branches: branches.map(change) } : {}) };
}

/** An example without virtual tokens, as it can be decoded. */
export function realTokens(example: Example, vocabSize: number): Example {
  return eachSequence(example, ({ ids, isLabel }) => {
    const keep = Array.from(ids, (id) => id < vocabSize);
    return { ids: ids.filter((_, i) => keep[i]), isLabel: isLabel.filter((_, i) => keep[i]) };
  });
}
