import { createSha256 } from "../io/sha256.ts";
import { commonLength } from "../tensor/common-length.ts";
import { countLabels, type Example, type Sequence, sequencesOf } from "./batch.ts";
import { type Indexed, indexed } from "./indexed.ts";
import { recordStore } from "./record-store.ts";
import type { Spill } from "./spill.ts";

/** How often each value occurs: value → count. */
export type Histogram = ReadonlyMap<number, number>;

/** Sum of the `count` largest values. */
export function largestSum(histogram: Histogram, count: number): number {
  let [left, sum] = [count, 0];
  for (const [value, times] of [...histogram].sort(([a], [b]) => b - a)) {
    const taken = Math.min(left, times);
    sum += taken * value;
    left -= taken;
  }
  return sum;
}

/** Examples in the order in which they were added, and what is known of all of them. */
export interface StoredExamples {
  readonly examples: Indexed<Example>;
  /** Example index → row index. */
  readonly rowOf: Indexed<number>;
  /** Lengths of the examples in tokens; what the sequences of one share with its own counts once. */
  readonly lengths: Histogram;
  /** Label tokens of the examples. */
  readonly labelCounts: Histogram;
  /** sha256 of every example: its tokens, which of them are labels, its target. */
  readonly digest: string;
}

/** Takes examples one after the other. */
export interface ExampleStore {
  readonly length: number;
  add(example: Omit<Example, "index">, row: number): void;
  /** What was added. Nothing is added after it. */
  finish(): StoredExamples;
}

/** int32 words in front of everything: row, which of types (1) and target (2) there are, the target as a float64, and the number of
 *  sequences; then length and answerStart (0 for none) of each. */
const HEADER = 5;
const HAS_TYPES = 1;
const HAS_TARGET = 2;

/** An empty store of examples: 4 bytes a token, which hold its id, its type and whether it is a label. */
export function exampleStore(spill: Spill | null): ExampleStore {
  const records = recordStore(spill);
  const [lengths, labelCounts] = [new Map<number, number>(), new Map<number, number>()];
  const hash = createSha256();
  const wordsAt = (index: number): Int32Array => wordsOf(records.at(index));
  return {
    get length() {
      return records.length;
    },
    add: (example, row) => {
      const { types, target } = example;
      records.append(encode(example, row));
      increment(lengths, nodesOf(example));
      const sequences = sequencesOf(example);
      increment(
        labelCounts,
        sequences.reduce((n, { isLabel }) => n + countLabels(isLabel), 0),
      );
      for (const { ids, isLabel } of sequences) hash.update(`${ids.length} `).update(ids).update(isLabel);
      if (target !== undefined) hash.update(`${target} `);
      if (types) hash.update(types);
    },
    finish: () => ({
      examples: indexed(
        () => records.length,
        (index) => decode(wordsAt(index), index),
      ),
      rowOf: indexed(
        () => records.length,
        (index) => wordsAt(index)[0] as number,
      ),
      lengths,
      labelCounts,
      digest: hash.hex(),
    }),
  };
}

function increment(histogram: Map<number, number>, value: number): void {
  histogram.set(value, (histogram.get(value) ?? 0) + 1);
}

/** Tokens of an example; what its other sequences share with its own counts once. */
function nodesOf({ ids, branches = [] }: Omit<Example, "index">): number {
  return branches.reduce((n, branch) => n + branch.ids.length - commonLength(branch.ids, ids), ids.length);
}

function encode(example: Omit<Example, "index">, row: number): Uint8Array {
  const { types, target } = example;
  const sequences = sequencesOf(example);
  const flags = (types ? HAS_TYPES : 0) | (target === undefined ? 0 : HAS_TARGET);
  const shapes = sequences.flatMap(({ ids, answerStart = 0 }) => [ids.length, answerStart]);
  const tokens = sequences.reduce((n, { ids }) => n + ids.length, 0);
  const words = new Int32Array(HEADER + shapes.length + tokens);
  words.set([
    row,
    flags,
    ...new Int32Array(Float64Array.of(target ?? 0).buffer),
    sequences.length,
    ...shapes,
  ]);
  let at = HEADER + shapes.length;
  for (const { ids, isLabel } of sequences)
    for (let i = 0; i < ids.length; i++)
      words[at++] = ((ids[i] as number) << 2) | ((types?.[i] ?? 0) << 1) | (isLabel[i] as number);
  return new Uint8Array(words.buffer);
}

function wordsOf(bytes: Uint8Array): Int32Array {
  const words = new Int32Array(bytes.length / 4);
  new Uint8Array(words.buffer).set(bytes);
  return words;
}

function decode(words: Int32Array, index: number): Example {
  const [, flags = 0, , , count = 1] = words;
  const shapes = words.subarray(HEADER, HEADER + 2 * count);
  let at = HEADER + shapes.length;
  const next = (n: number): Int32Array => {
    at += shapes[2 * n] as number;
    return words.subarray(at - (shapes[2 * n] as number), at);
  };
  const sequence = (tokens: Int32Array, answerStart: number): Sequence => ({
    ids: tokens.map((word) => word >> 2),
    isLabel: bits(tokens, 0),
    ...(answerStart > 0 ? { answerStart } : {}),
  });
  const branches = Array.from({ length: count - 1 }, (_, n) =>
    sequence(next(n), shapes[2 * n + 1] as number),
  );
  const tokens = next(count - 1);
  return {
    ...sequence(tokens, shapes[2 * count - 1] as number),
    index,
    ...(branches.length > 0 ? { branches } : {}),
    ...(flags & HAS_TYPES ? { types: bits(tokens, 1) } : {}),
    ...(flags & HAS_TARGET ? { target: new Float64Array(words.slice(2, 4).buffer)[0] as number } : {}),
  };
}

/** One bit of every word. */
function bits(words: Int32Array, place: number): Uint8Array {
  const found = new Uint8Array(words.length);
  for (let i = 0; i < words.length; i++) found[i] = ((words[i] as number) >> place) & 1;
  return found;
}
