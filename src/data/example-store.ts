import { createHash } from "node:crypto";
import { countLabels, type Example } from "./batch.ts";
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
  /** Lengths of the examples in tokens. */
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

/** int32 words in front of the tokens: row, answerStart (0 for none), which of types (1) and target (2) there are, and the target
 *  as a float64. */
const HEADER = 5;
const HAS_TYPES = 1;
const HAS_TARGET = 2;

/** An empty store of examples: 4 bytes a token, which hold its id, its type and whether it is a label. */
export function exampleStore(spill: Spill | null): ExampleStore {
  const records = recordStore(spill);
  const [lengths, labelCounts] = [new Map<number, number>(), new Map<number, number>()];
  const hash = createHash("sha256");
  const wordsAt = (index: number): Int32Array => wordsOf(records.at(index));
  return {
    get length() {
      return records.length;
    },
    add: (example, row) => {
      const { ids, isLabel, types, target } = example;
      records.append(encode(example, row));
      increment(lengths, ids.length);
      increment(labelCounts, countLabels(isLabel));
      hash.update(`${ids.length} `).update(ids).update(isLabel);
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
      digest: hash.digest("hex"),
    }),
  };
}

function increment(histogram: Map<number, number>, value: number): void {
  histogram.set(value, (histogram.get(value) ?? 0) + 1);
}

function encode(
  { ids, isLabel, types, target, answerStart = 0 }: Omit<Example, "index">,
  row: number,
): Uint8Array {
  const words = new Int32Array(HEADER + ids.length);
  const flags = (types ? HAS_TYPES : 0) | (target === undefined ? 0 : HAS_TARGET);
  words.set([row, answerStart, flags, ...new Int32Array(Float64Array.of(target ?? 0).buffer)]);
  for (let i = 0; i < ids.length; i++)
    words[HEADER + i] = ((ids[i] as number) << 2) | ((types?.[i] ?? 0) << 1) | (isLabel[i] as number);
  return new Uint8Array(words.buffer);
}

function wordsOf(bytes: Uint8Array): Int32Array {
  const words = new Int32Array(bytes.length / 4);
  new Uint8Array(words.buffer).set(bytes);
  return words;
}

function decode(words: Int32Array, index: number): Example {
  const [, answerStart = 0, flags = 0] = words;
  const tokens = words.subarray(HEADER);
  return {
    ids: tokens.map((word) => word >> 2),
    isLabel: bits(tokens, 0),
    index,
    ...(answerStart > 0 ? { answerStart } : {}),
    ...(flags & HAS_TYPES ? { types: bits(tokens, 1) } : {}),
    ...(flags & HAS_TARGET ? { target: new Float64Array(words.slice(3, HEADER).buffer)[0] as number } : {}),
  };
}

/** One bit of every word. */
function bits(words: Int32Array, place: number): Uint8Array {
  const found = new Uint8Array(words.length);
  for (let i = 0; i < words.length; i++) found[i] = ((words[i] as number) >> place) & 1;
  return found;
}
