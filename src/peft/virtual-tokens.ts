import type { Example } from "../data/batch.ts";
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

/** A prompt with its virtual tokens. */
export function virtualPrompt(ids: readonly number[], layout: VirtualLayout): readonly number[] {
  return virtualCount(layout) === 0 ? ids : [...layout.prefix, ...ids, ...layout.infix];
}

/** An example with its virtual tokens: the infix in front of the first label. They are nodes of the trie like any other, so
 *  examples share a prefix, and packing stays exact. */
export function virtualExample(example: Example, layout: VirtualLayout): Example {
  if (virtualCount(layout) === 0) return example;
  const first = Math.max(1, example.isLabel.indexOf(1));
  const ids = Int32Array.from([
    ...layout.prefix,
    ...example.ids.subarray(0, first),
    ...layout.infix,
    ...example.ids.subarray(first),
  ]);
  const isLabel = new Uint8Array(ids.length);
  isLabel.set(example.isLabel.subarray(first), first + virtualCount(layout));
  return { ...example, ids, isLabel };
}

/** An example without virtual tokens, as it can be decoded. */
export function realTokens(example: Example, vocabSize: number): Example {
  const keep = Array.from(example.ids, (id) => id < vocabSize);
  return {
    ...example,
    ids: example.ids.filter((_, i) => keep[i]),
    isLabel: example.isLabel.filter((_, i) => keep[i]),
  };
}
