import { FormatError } from "../errors.ts";

/** The "model" of a tokenizer.json, type BPE. */
export interface BpeConfig {
  readonly vocab: Readonly<Record<string, number>>;
  readonly merges: readonly (string | readonly [string, string])[];
  readonly unk_token?: string | null;
  readonly fuse_unk?: boolean;
  readonly byte_fallback?: boolean;
  readonly ignore_merges?: boolean;
}

/** Byte-pair encoding of one pre-tokenized piece: adjacent symbols are merged, the pair with the lowest rank first and
 *  the leftmost of equals. Time O(n log n) in the piece's length. `@huggingface/tokenizers` looks pairs up by JSON text
 *  and is some ten times slower, which shows where the whole text is one piece (SentencePiece).
 *  @throws FormatError if a merge joins tokens that are not in the vocabulary. */
export function createBpe(config: BpeConfig): (piece: string) => number[] {
  const ids = new Map(Object.entries(config.vocab));
  const symbolsOf = symbolizer(config, ids);
  const merges = mergeTable(config, ids);
  return (piece) => {
    const whole = config.ignore_merges ? ids.get(piece) : undefined;
    return whole === undefined ? mergeAll(symbolsOf(piece), merges) : [whole];
  };
}

/** Ids of the characters of a piece; one without id becomes its bytes, or the unknown token, or is left out. */
function symbolizer(config: BpeConfig, ids: ReadonlyMap<string, number>): (piece: string) => number[] {
  const unknown = config.unk_token == null ? undefined : ids.get(config.unk_token);
  const bytesOf = (char: string): number[] | null => {
    const names = Array.from(
      utf8.encode(char),
      (b) => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`,
    );
    const found = names.map((name) => ids.get(name)).filter((id) => id !== undefined);
    return config.byte_fallback && found.length === names.length ? found : null;
  };
  return (piece) => {
    const symbols: number[] = [];
    let fuses = false;
    for (const char of piece) {
      const id = ids.get(char);
      const known = id === undefined ? bytesOf(char) : [id];
      if (known !== null) symbols.push(...known);
      else if (unknown !== undefined && !fuses) symbols.push(unknown);
      fuses = known === null && config.fuse_unk === true;
    }
    return symbols;
  };
}

const utf8 = new TextEncoder();

interface MergeTable {
  /** Rank of the pair (left, right), under left · span + right. */
  readonly ranks: ReadonlyMap<number, number>;
  readonly span: number;
  /** Id that the merge of a rank makes. */
  readonly merged: Int32Array;
}

function mergeTable(config: BpeConfig, ids: ReadonlyMap<string, number>): MergeTable {
  let span = 1;
  for (const id of ids.values()) span = Math.max(span, id + 1);
  const ranks = new Map<number, number>();
  const merged = new Int32Array(config.merges.length);
  config.merges.forEach((merge, rank) => {
    const at = typeof merge === "string" ? merge.indexOf(" ") : 0;
    const [left, right] = typeof merge === "string" ? [merge.slice(0, at), merge.slice(at + 1)] : merge;
    const [a, b, ab] = [ids.get(left), ids.get(right), ids.get(left + right)];
    if (a === undefined || b === undefined || ab === undefined) {
      const pair = JSON.stringify([left, right]);
      throw new FormatError("tokenizer.json", `merge ${rank + 1} of ${pair}: not in the vocabulary`);
    }
    ranks.set(a * span + b, rank);
    merged[rank] = ab;
  });
  return { ranks, span, merged };
}

/** Ranks are below 2^21 and positions below 2^32, so that both fit the 53 bits of a number in this order. */
const POSITIONS = 2 ** 32;

function mergeAll(symbols: number[], { ranks, span, merged }: MergeTable): number[] {
  const count = symbols.length;
  if (count < 2) return symbols;
  const next = Int32Array.from({ length: count }, (_, i) => i + 1);
  const previous = Int32Array.from({ length: count }, (_, i) => i - 1);
  const rankAt = (i: number): number | undefined => {
    const right = next[i] as number;
    return right < count ? ranks.get((symbols[i] as number) * span + (symbols[right] as number)) : undefined;
  };
  const queue: number[] = [];
  const offer = (i: number): void => {
    const rank = rankAt(i);
    if (rank !== undefined) heapPush(queue, rank * POSITIONS + i);
  };
  for (let i = 0; i + 1 < count; i++) offer(i);
  while (queue.length > 0) {
    const entry = heapPop(queue);
    const rank = Math.floor(entry / POSITIONS);
    const i = entry - rank * POSITIONS;
    if (symbols[i] === MERGED_AWAY || rankAt(i) !== rank) continue; // the pair has changed since it was queued
    const right = next[i] as number;
    const after = next[right] as number;
    symbols[i] = merged[rank] as number;
    symbols[right] = MERGED_AWAY;
    next[i] = after;
    if (after < count) previous[after] = i;
    offer(i);
    if (i > 0) offer(previous[i] as number);
  }
  return symbols.filter((id) => id !== MERGED_AWAY);
}

const MERGED_AWAY = -1;

function heapPush(heap: number[], value: number): void {
  let at = heap.length;
  heap.push(value);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if ((heap[parent] as number) <= value) break;
    heap[at] = heap[parent] as number;
    at = parent;
  }
  heap[at] = value;
}

/** Smallest value of a heap that is not empty. */
function heapPop(heap: number[]): number {
  const top = heap[0] as number;
  const value = heap.pop() as number;
  const size = heap.length;
  if (size === 0) return top;
  let at = 0;
  for (let child = 1; child < size; child = 2 * at + 1) {
    if (child + 1 < size && (heap[child + 1] as number) < (heap[child] as number)) child++;
    if ((heap[child] as number) >= value) break;
    heap[at] = heap[child] as number;
    at = child;
  }
  heap[at] = value;
  return top;
}
