import type { ModelConfig } from "../formats/model.ts";
import type { RunOptions, Runtime } from "../runtime/runtime.ts";
import { ints, iota, type Tensor } from "../tensor/tensor.ts";
import { cacheNames } from "./decoding-graph.ts";

/** New tokens: those of rows from `first` on, in blocks of `length` columns, of which each row uses `sizes[r]`, from its first on. */
export interface NewTokens {
  readonly first: number;
  readonly sizes: readonly number[];
  readonly length: number;
}

/** Keys and values of the tokens so far of some rows, in the runtime. */
export interface Cache {
  /** Columns of its memory. */
  readonly room: number;
  /** Tokens held, by row. */
  readonly lengths: readonly number[];
  /** Room for so many rows; new ones are empty. */
  setRows(rows: number): Promise<void>;
  /** Forgets what a row holds beyond so many tokens. */
  truncate(row: number, length?: number): void;
  /** Copies a row over another. */
  copy(from: number, to: number): Promise<void>;
  /** Frees its memory: the rows are gone. */
  drop(): Promise<void>;
  /** What the graph needs to know to add tokens, and what becomes of its outputs. */
  prepare(added: NewTokens): Promise<{ readonly feeds: Record<string, Tensor>; readonly keep: RunOptions }>;
  /** The tokens were added. */
  advance(added: NewTokens): void;
}

/** Room grows by so many tokens: what is unused is computed with and hidden. */
const ROOM_STEP = 128;

/** An empty cache, in the place of one that was there under the same scope. */
export function openCache(runtime: Runtime, config: ModelConfig, scope = ""): Cache {
  const names = cacheNames(config.layerCount, scope);
  let lengths: number[] = [];
  let room = 0;
  const makeRoom = async (rows: number, tokens: number): Promise<void> => {
    const columns = Math.max(1, Math.ceil(tokens / ROOM_STEP)) * ROOM_STEP;
    const shape = [rows, config.kvHeadCount, 1, columns, config.headDim];
    await runtime.resize(Object.fromEntries(names.map((name) => [name, shape])));
    room = columns;
  };
  return {
    get lengths() {
      return lengths;
    },
    get room() {
      return room;
    },
    setRows: async (rows) => {
      if (rows === lengths.length) return;
      const next = Array.from({ length: rows }, (_, r) => lengths[r] ?? 0);
      await makeRoom(rows, Math.max(...next, 0));
      lengths = next;
    },
    truncate: (row, length = 0) => {
      lengths[row] = Math.min(lengths[row] as number, length);
    },
    copy: async (from, to) => {
      await runtime.copyRow(names, from, to);
      lengths[to] = lengths[from] as number;
    },
    drop: async () => {
      lengths = [];
      room = 0;
      await runtime.drop(names);
    },
    prepare: async ({ first, sizes, length }) => {
      const own = lengths.slice(first, first + sizes.length);
      const needed = Math.max(...own) + length;
      if (needed > room) await makeRoom(lengths.length, needed);
      const insert = Object.fromEntries(names.map((name) => [`${name}.new`, name]));
      return {
        feeds: {
          lengths: ints(Int32Array.from(own), [own.length]),
          columns: iota(room),
          added: iota(length),
        },
        keep: { insert, at: own, part: { names, from: first, to: first + own.length } },
      };
    },
    advance: ({ first, sizes }) => {
      sizes.forEach((size, r) => {
        lengths[first + r] = (lengths[first + r] as number) + size;
      });
    },
  };
}
