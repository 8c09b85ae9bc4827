import type { AdaptedModel } from "../peft/use/adapted-model.ts";
import type { RunOptions, Runtime } from "../runtime/runtime.ts";
import { floats, ints, iota, type Tensor } from "../tensor/tensor.ts";
import { type CacheKind, cacheNames } from "./decoding-graph.ts";

/** New tokens: R rows of `length` columns, of which each row uses `sizes[r]`. */
export interface NewTokens {
  readonly sizes: readonly number[];
  readonly length: number;
}

/** Keys and values of the tokens so far, in the runtime, and where new ones go. */
export interface Cache {
  readonly kind: CacheKind;
  /** Columns in use, padding included. */
  readonly length: number;
  /** Forgets everything; the rows of a prompt come next. */
  start(prompt: NewTokens): Promise<void>;
  /** First column of a prompt of `size` tokens in a block of `length`: rows are padded on the left or on the right. */
  firstColumn(size: number, length: number): number;
  /** Position of the next token of each row. */
  positions(): number[];
  /** What the graph needs to know to add tokens, and what becomes of its outputs. */
  prepare(added: NewTokens): Promise<{ readonly feeds: Record<string, Tensor>; readonly keep: RunOptions }>;
  /** The tokens were added. */
  advance(added: NewTokens): void;
}

/** What suits a model: room for tokens to come, where the device's own attention can be used. */
export function openCache(runtime: Runtime, model: AdaptedModel): Cache {
  // Methods that put keys and values in front of a sequence need attention that is open to them.
  const hasPrefix = model.methods.some((m) => m.positionOffset > 0);
  const isRoomy = runtime.supports.cachedAttention && !hasPrefix && model.config.headDim % 8 === 0;
  return isRoomy ? roomyCache(runtime, model) : appendedCache(runtime, model);
}

function outputsOf(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [`${name}.new`, name]));
}

/** Every run gives the keys and values of its tokens, which are added at the end. Rows are padded on the left. */
function appendedCache(runtime: Runtime, { config }: AdaptedModel): Cache {
  const names = cacheNames(config.layerCount);
  let starts: readonly number[] = [];
  let past = 0;
  return {
    kind: "appended",
    get length() {
      return past;
    },
    start: async ({ sizes, length }) => {
      starts = sizes.map((size) => length - size);
      past = 0;
      const empty = floats(new Float32Array(0), [0, sizes.length, config.kvHeadCount * config.headDim]);
      await runtime.put(Object.fromEntries(names.map((name) => [name, empty])));
    },
    firstColumn: (size, length) => length - size,
    positions: () => starts.map((start) => past - start),
    prepare: async ({ length }) => ({
      feeds: {
        queryColumns: iota(length, past),
        keyColumns: iota(past + length),
        starts: ints(Int32Array.from(starts), [starts.length]),
      },
      keep: { append: outputsOf(names) },
    }),
    advance: ({ length }) => {
      past += length;
    },
  };
}

/** Room grows by so many tokens: attention clears a copy of it at every step. */
const ROOM_STEP = 128;

/** New keys and values are put where there is room. Rows are padded on the right; what follows takes the padding's place. */
function roomyCache(runtime: Runtime, { config, positionCount }: AdaptedModel): Cache {
  const names = cacheNames(config.layerCount);
  let sizes: number[] = [];
  let room = 0;
  const makeRoom = async (tokens: number): Promise<void> => {
    room = Math.min(positionCount, Math.ceil(tokens / ROOM_STEP) * ROOM_STEP);
    const shape = [sizes.length, config.kvHeadCount, room, config.headDim];
    await runtime.resize(Object.fromEntries(names.map((name) => [name, shape])));
  };
  const length = (): number => Math.max(0, ...sizes);
  return {
    kind: "roomy",
    get length() {
      return length();
    },
    start: async (prompt) => {
      sizes = prompt.sizes.map(() => 0);
      room = 0;
      await makeRoom(prompt.length);
    },
    firstColumn: () => 0,
    positions: () => [...sizes],
    prepare: async (added) => {
      const total = length() + added.length;
      if (total > room) await makeRoom(total);
      const last = sizes.map((size, r) => size + (added.sizes[r] as number) - 1);
      return {
        feeds: {
          lastColumns: ints(Int32Array.from(last), [last.length]),
          totalLength: ints(Int32Array.of(total), []),
        },
        keep: { insert: outputsOf(names), at: [...sizes] },
      };
    },
    advance: (added) => {
      sizes = sizes.map((size, r) => size + (added.sizes[r] as number));
    },
  };
}
