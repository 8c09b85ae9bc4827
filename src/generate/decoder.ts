import { UnsupportedError } from "../errors.ts";
import type { HoistedGraph } from "../graph/hoist.ts";
import type { AdaptedModel } from "../peft/use/adapted-model.ts";
import type { LoadOptions, Runtime, Session } from "../runtime/runtime.ts";
import { ints, longs, type Tensor } from "../tensor/tensor.ts";
import { type Cache, type NewTokens, openCache } from "./cache.ts";
import { decodeGraph } from "./decoding-graph.ts";

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
  /** Takes θ as it was `put` last. The first `start` or `score` does so by itself. */
  takeParameters(): Promise<void>;
  close(): Promise<void>;
}

interface Block extends NewTokens {
  readonly tokens: Int32Array;
  readonly positions: BigInt64Array;
  /** Place of the last token of each row among all. */
  readonly lastNodes: Int32Array;
}

function promptBlock(prompts: readonly (readonly number[])[], cache: Cache): Block {
  const length = Math.max(...prompts.map((p) => p.length));
  const tokens = new Int32Array(prompts.length * length);
  const positions = new BigInt64Array(prompts.length * length);
  const firsts = prompts.map((p, r) => r * length + cache.firstColumn(p.length, length));
  prompts.forEach((prompt, r) => {
    prompt.forEach((id, i) => {
      tokens[(firsts[r] as number) + i] = id;
      positions[(firsts[r] as number) + i] = BigInt(i);
    });
  });
  const sizes = prompts.map((p) => p.length);
  const lastNodes = Int32Array.from(sizes, (size, r) => (firsts[r] as number) + size - 1);
  return { tokens, positions, sizes, length, lastNodes };
}

/** The graph of what depends on θ alone; null where nothing does. */
async function loadLayout(
  runtime: Runtime,
  once: HoistedGraph["once"],
  folder: string,
): Promise<Session | null> {
  if (Object.keys(once).length === 0) return null;
  return runtime.load(once, { folder, prepack: false, arena: false });
}

/** Loads the decoding graph of a model. θ, where something is adapted, is what was `put` as "theta". */
export async function createDecoder(
  runtime: Runtime,
  model: AdaptedModel,
  folder: string,
  options: Pick<LoadOptions, "prepack" | "profile"> = {},
): Promise<Decoder> {
  const cache = openCache(runtime, model);
  const { once, each } = decodeGraph(model, cache.kind);
  const parameters = Object.keys(once);
  const session: Session = await runtime.load(each, { folder, ...options });
  const layout = await loadLayout(runtime, once, folder).catch(async (error) => {
    await session.close();
    throw error;
  });
  let areTaken = parameters.length === 0;
  const takeParameters = async (): Promise<void> => {
    areTaken = false;
    const carry = Object.fromEntries(parameters.map((name) => [name, name]));
    await layout?.run({}, { fetch: [], carry });
    areTaken = true;
  };

  const run = async (block: Block, outputs: Int32Array): Promise<Float32Array[]> => {
    const after = cache.length + block.length;
    if (after > model.positionCount)
      throw new UnsupportedError(
        `the context is full: ${after} tokens, and this model was loaded for ${model.positionCount}`,
      );
    const { feeds, keep } = await cache.prepare(block);
    const shape = [block.sizes.length, block.length];
    const inputs = {
      tokens: ints(block.tokens, shape),
      positions: longs(block.positions, shape),
      outputNodes: ints(outputs, [outputs.length]),
      ...feeds,
    };
    const { logits } = await session.run(inputs, { fetch: ["logits"], ...keep });
    cache.advance(block);
    const flat = (logits as Tensor).data as Float32Array;
    const vocab = flat.length / outputs.length;
    return Array.from(outputs, (_, r) => flat.subarray(r * vocab, (r + 1) * vocab));
  };

  const begin = async (prompts: readonly (readonly number[])[]): Promise<Block> => {
    if (prompts.length === 0 || prompts.some((p) => p.length === 0))
      throw new UnsupportedError("a prompt needs at least one token, got none");
    if (!areTaken) await takeParameters();
    const block = promptBlock(prompts, cache);
    await cache.start(block);
    return block;
  };

  return {
    get length() {
      return cache.length;
    },
    start: async (prompts) => {
      const block = await begin(prompts);
      return run(block, block.lastNodes);
    },
    score: async (ids) => {
      const block = await begin([ids]);
      return run(block, Int32Array.from(ids.keys()));
    },
    next: (tokens) => {
      const positions = BigInt64Array.from(cache.positions(), BigInt);
      const lastNodes = Int32Array.from(tokens.keys());
      const sizes = tokens.map(() => 1);
      return run({ tokens: Int32Array.from(tokens), positions, sizes, length: 1, lastNodes }, lastNodes);
    },
    takeParameters,
    close: async () => {
      await session.close();
      await layout?.close();
      await runtime.drop(parameters);
    },
  };
}
