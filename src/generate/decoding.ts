import { UnsupportedError } from "../errors.ts";
import type { HoistedGraph } from "../graph/hoist.ts";
import type { AdaptedModel } from "../peft/use/adapted-model.ts";
import type { LoadOptions, Runtime, Session } from "../runtime/runtime.ts";
import { ints, type Tensor } from "../tensor/tensor.ts";
import type { Cache, NewTokens } from "./cache.ts";
import { type DecodingScope, decodeGraph } from "./decoding-graph.ts";

/** Tokens to add to rows of a cache, from row `first` on. */
export interface AddedTokens {
  readonly first: number;
  /** Of each row; none for one that gets none. */
  readonly tokens: readonly (readonly number[])[];
  /** Tensors of the run beside its tokens. */
  readonly feeds?: Readonly<Record<string, Tensor>>;
}

/** The forward pass of a model over the rows of a cache. */
export interface Decoding {
  /** Adds tokens. Logits [V] after the last one of each row that got some, or after every one.
   *  @throws UnsupportedError where a row has no room */
  add(cache: Cache, added: AddedTokens, which: "last" | "all"): Promise<Float32Array[]>;
  /** Takes θ as it was `put` last. The first `add` does so by itself. */
  takeParameters(): Promise<void>;
  close(): Promise<void>;
}

/** The output that is fetched; the others are kept. */
const LOGITS = "logits";

/** Tokens of a prompt that are computed at once, where nobody else waits: more take more memory. */
export const PROMPT_PIECE = 128;

/** The graph of what depends on θ alone; null where nothing does. */
async function loadLayout(
  runtime: Runtime,
  once: HoistedGraph["once"],
  folder: string,
): Promise<Session | null> {
  if (Object.keys(once).length === 0) return null;
  return runtime.load(once, { folder, prepack: false, arena: false, keeps: Object.keys(once) });
}

/** Loads the decoding graph of a model. θ, where something is adapted, is what was `put` as "theta". */
export async function loadDecoding(
  runtime: Runtime,
  model: AdaptedModel,
  folder: string,
  { scope, wrap, ...options }: Pick<LoadOptions, "prepack" | "profile"> & DecodingScope = {},
): Promise<Decoding> {
  const { once, each } = decodeGraph(model, { ...(scope && { scope }), ...(wrap && { wrap }) });
  const parameters = Object.keys(once);
  const keeps = Object.keys(each).filter((name) => name !== LOGITS);
  const session: Session = await runtime.load(each, { folder, keeps, ...options });
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
  return {
    add: async (cache, { first, tokens, feeds = {} }, which) => {
      const lengths = cache.lengths.slice(first, first + tokens.length);
      checkRoom(lengths, tokens, model.positionCount);
      if (!areTaken) await takeParameters();
      const block = blockOf(first, lengths, tokens, which);
      const { feeds: ofCache, keep } = await cache.prepare(block);
      const inputs = { ...block.feeds, ...ofCache, ...feeds };
      const { logits } = await session.run(inputs, { fetch: [LOGITS], ...keep });
      cache.advance(block);
      const flat = (logits as Tensor).data as Float32Array;
      const vocab = flat.length / block.outputs.length;
      return block.outputs.map((_, r) => flat.subarray(r * vocab, (r + 1) * vocab));
    },
    takeParameters,
    close: async () => {
      await session.close();
      await layout?.close();
      await runtime.drop(parameters);
    },
  };
}

function checkRoom(lengths: readonly number[], tokens: readonly (readonly number[])[], most: number): void {
  const longest = Math.max(...lengths.map((length, r) => length + (tokens[r] as readonly number[]).length));
  if (longest > most)
    throw new UnsupportedError(
      `the context is full: ${longest} tokens, and this model was loaded for ${most}`,
    );
}

/** Rows of tokens as the graph takes them, padded on the right. */
function blockOf(
  first: number,
  lengths: readonly number[],
  rows: readonly (readonly number[])[],
  which: "last" | "all",
): NewTokens & { readonly feeds: Record<string, Tensor>; readonly outputs: number[] } {
  const length = Math.max(...rows.map((row) => row.length));
  const tokens = new Int32Array(rows.length * length);
  const positions = new Int32Array(rows.length * length);
  const outputs: number[] = [];
  rows.forEach((row, r) => {
    row.forEach((id, i) => {
      tokens[r * length + i] = id;
      positions[r * length + i] = (lengths[r] as number) + i;
      if (which === "all" || i === row.length - 1) outputs.push(r * length + i);
    });
  });
  const shape = [rows.length, length];
  return {
    first,
    sizes: rows.map((row) => row.length),
    length,
    outputs,
    feeds: {
      tokens: ints(tokens, shape),
      positions: ints(positions, shape),
      outputNodes: ints(Int32Array.from(outputs), [outputs.length]),
    },
  };
}
