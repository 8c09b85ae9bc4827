import { UnsupportedError } from "../errors.ts";
import type { AdaptedModel } from "../peft/adapted-model.ts";
import type { Runtime, Session } from "../runtime/runtime.ts";
import { floats, ints, longs, type Tensor } from "../tensor/tensor.ts";
import { cacheNames, decodeGraph } from "./graph.ts";

/** Autoregressive decoding of R sequences side by side, with a key-value cache that stays in the runtime. */
export interface Decoder {
  /** Forgets what was decoded and takes R prompts (padded on the left). Returns logits [R][V] for the next tokens.
   *  @throws UnsupportedError if a prompt is empty or too long */
  start(prompts: readonly (readonly number[])[]): Promise<Float32Array[]>;
  /** Adds one token to each row. Returns the next logits [R][V]. @throws UnsupportedError when positions run out */
  next(tokens: readonly number[]): Promise<Float32Array[]>;
  /** Forgets what was decoded. Logits [T][V] after each token of one sequence. @throws UnsupportedError as `start` */
  score(ids: readonly number[]): Promise<Float32Array[]>;
  /** Tokens held, padding included. */
  readonly length: number;
  close(): Promise<void>;
}

interface Block {
  readonly tokens: Int32Array;
  readonly positions: BigInt64Array;
  readonly rows: number;
  readonly length: number;
}

function iota(from: number, count: number): Tensor {
  return ints(
    Int32Array.from({ length: count }, (_, i) => from + i),
    [count],
  );
}

function promptBlock(prompts: readonly (readonly number[])[]): { block: Block; starts: Int32Array } {
  const length = Math.max(...prompts.map((p) => p.length));
  const rows = prompts.length;
  const tokens = new Int32Array(rows * length);
  const positions = new BigInt64Array(rows * length);
  const starts = Int32Array.from(prompts, (p) => length - p.length);
  prompts.forEach((prompt, r) => {
    const start = starts[r] as number;
    prompt.forEach((id, i) => {
      tokens[r * length + start + i] = id;
      positions[r * length + start + i] = BigInt(i);
    });
  });
  return { block: { tokens, positions, rows, length }, starts };
}

function lastNodes({ rows, length }: Block): Int32Array {
  return Int32Array.from({ length: rows }, (_, r) => (r + 1) * length - 1);
}

/** Loads the decoding graph of a model. θ, where something is adapted, is what was `put` as "theta". */
export async function createDecoder(
  runtime: Runtime,
  model: AdaptedModel,
  folder: string,
  options: { readonly prepack?: boolean } = {},
): Promise<Decoder> {
  const session: Session = await runtime.load(decodeGraph(model), { folder, ...options });
  const { layerCount, kvHeadCount, headDim } = model.config;
  const caches = cacheNames(layerCount);
  const append = Object.fromEntries(caches.map((name) => [`${name}.new`, name]));
  let starts = new Int32Array(0);
  let past = 0;

  const run = async (
    { tokens, positions, rows, length }: Block,
    outputs: Int32Array,
  ): Promise<Float32Array[]> => {
    if (past + length > model.positionCount)
      throw new UnsupportedError(
        `the context is full: ${past + length} tokens, and this model was loaded for ${model.positionCount}`,
      );
    const feeds = {
      tokens: ints(tokens, [rows, length]),
      positions: longs(positions, [rows, length]),
      queryColumns: iota(past, length),
      keyColumns: iota(0, past + length),
      starts: ints(starts, [rows]),
      outputNodes: ints(outputs, [outputs.length]),
    };
    const { logits } = await session.run(feeds, { fetch: ["logits"], append });
    past += length;
    const flat = (logits as Tensor).data as Float32Array;
    const vocab = flat.length / outputs.length;
    return Array.from(outputs, (_, r) => flat.subarray(r * vocab, (r + 1) * vocab));
  };

  const begin = async (prompts: readonly (readonly number[])[]): Promise<Block> => {
    if (prompts.length === 0 || prompts.some((p) => p.length === 0))
      throw new UnsupportedError("a prompt needs at least one token, got none");
    const prepared = promptBlock(prompts);
    starts = Int32Array.from(prepared.starts);
    past = 0;
    const empty = floats(new Float32Array(0), [0, prompts.length, kvHeadCount * headDim]);
    await runtime.put(Object.fromEntries(caches.map((name) => [name, empty])));
    return prepared.block;
  };

  return {
    get length() {
      return past;
    },
    start: async (prompts) => {
      const block = await begin(prompts);
      return run(block, lastNodes(block));
    },
    score: async (ids) => {
      const block = await begin([ids]);
      return run(block, Int32Array.from(ids.keys()));
    },
    next: (tokens) => {
      const positions = BigInt64Array.from(starts, (start) => BigInt(past - start));
      const block = { tokens: Int32Array.from(tokens), positions, rows: tokens.length, length: 1 };
      return run(block, lastNodes(block));
    },
    close: () => session.close(),
  };
}
