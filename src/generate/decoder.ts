import { UnsupportedError } from "../errors.ts";
import type { AdaptedModel } from "../peft/use/adapted-model.ts";
import type { LoadOptions, Runtime } from "../runtime/runtime.ts";
import { type Cache, openCache } from "./cache.ts";
import { type Decoding, loadDecoding, PROMPT_PIECE } from "./decoding.ts";
import type { DecodingScope } from "./decoding-graph.ts";

/** Autoregressive decoding of R sequences side by side, with a key-value cache that stays in the runtime. */
export interface Decoder {
  /** Forgets what was decoded and takes R prompts. Returns logits [R][V] for the next tokens.
   *  @throws UnsupportedError if a prompt is empty or too long */
  start(prompts: readonly (readonly number[])[]): Promise<Float32Array[]>;
  /** Adds one token to each row. Returns the next logits [R][V]. @throws UnsupportedError when positions run out */
  next(tokens: readonly number[]): Promise<Float32Array[]>;
  /** Forgets what was decoded. Logits [T][V] after each token of one sequence. @throws UnsupportedError as `start` */
  score(ids: readonly number[]): Promise<Float32Array[]>;
  /** The forward pass, and the rows that it works on. */
  readonly decoding: Decoding;
  readonly cache: Cache;
  /** Tokens of the longest row. */
  readonly length: number;
  /** Takes θ as it was `put` last. The first `start` or `score` does so by itself. */
  takeParameters(): Promise<void>;
  close(): Promise<void>;
}

/** Loads the decoding graph of a model. θ, where something is adapted, is what was `put` as "theta". */
export async function createDecoder(
  runtime: Runtime,
  model: AdaptedModel,
  folder: string,
  options: Pick<LoadOptions, "prepack" | "profile"> & Pick<DecodingScope, "scope"> = {},
): Promise<Decoder> {
  const cache = openCache(runtime, model.config, options.scope);
  const decoding = await loadDecoding(runtime, model, folder, options);

  const begin = async (prompts: readonly (readonly number[])[]): Promise<number> => {
    if (prompts.length === 0 || prompts.some((p) => p.length === 0))
      throw new UnsupportedError("a prompt needs at least one token, got none");
    await cache.setRows(0);
    await cache.setRows(prompts.length);
    const longest = Math.max(...prompts.map((p) => p.length));
    if (longest > model.positionCount)
      throw new UnsupportedError(
        `the context is full: ${longest} tokens, and this model was loaded for ${model.positionCount}`,
      );
    return longest;
  };
  /** Prompts in pieces of `PROMPT_PIECE` tokens. Of each row the logits after its last token, or after all. */
  const read = async (
    prompts: readonly (readonly number[])[],
    which: "last" | "all",
  ): Promise<Float32Array[]> => {
    const longest = await begin(prompts);
    const found: Float32Array[][] = prompts.map(() => []);
    for (let at = 0; at < longest; at += PROMPT_PIECE) {
      const tokens = prompts.map((p) => p.slice(at, at + PROMPT_PIECE));
      const logits = await decoding.add(cache, { first: 0, tokens }, which);
      const owners = tokens.flatMap((row, r) =>
        which === "all" ? row.map(() => r) : row.length > 0 ? [r] : [],
      );
      logits.forEach((row, i) => {
        const own = found[owners[i] as number] as Float32Array[];
        if (which === "last") own.length = 0;
        own.push(row);
      });
    }
    return found.flat();
  };

  return {
    decoding,
    cache,
    get length() {
      return Math.max(0, ...cache.lengths);
    },
    start: (prompts) => read(prompts, "last"),
    score: (ids) => read([ids], "all"),
    next: (tokens) => decoding.add(cache, { first: 0, tokens: tokens.map((id) => [id]) }, "last"),
    takeParameters: () => decoding.takeParameters(),
    close: () => decoding.close(),
  };
}
