import type { PoolingMode } from "../formats/hf/pooling.ts";
import { gather, matmul } from "../graph/ops/index.ts";
import { input, type Value } from "../graph/value.ts";
import type { AdaptedModel } from "../peft/use/adapted-model.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { floats, ints, type Tensor } from "../tensor/tensor.ts";
import { packedSequences, sequenceGraph, type WholeSequence } from "./whole-sequences.ts";

/** How token vectors become one of a text. */
export interface VectorOptions {
  readonly mode: PoolingMode;
  readonly isNormalized: boolean;
}

/** Vectors [E, d] of E texts: pooling · hidden, of which `nodes` [N] are the tokens of the texts. */
function vectorGraph(model: AdaptedModel): Record<string, Value> {
  return sequenceGraph(model, (_ctx, hidden) => {
    const tokens = gather(hidden, input("nodes", "int32", ["N"]));
    return { vectors: matmul(input("pooling", "float32", ["E", "N"]), tokens) };
  });
}

/** Weight of token i of n, as sentence-transformers' Pooling has them. */
function weightOf(mode: PoolingMode, i: number, n: number): number {
  switch (mode) {
    case "mean":
      return 1 / n;
    case "mean_sqrt_len":
      return 1 / Math.sqrt(n);
    case "weightedmean":
      return (2 * (i + 1)) / (n * (n + 1));
    case "cls":
      return i === 0 ? 1 : 0;
    case "lasttoken":
      return i === n - 1 ? 1 : 0;
  }
}

/** Makes vectors of sequences. θ, where something is adapted, is what was `put` as "theta". */
export interface Embedder {
  /** A vector [d] of each. */
  embed(sequences: readonly WholeSequence[]): Promise<Float32Array[]>;
  close(): Promise<void>;
}

/** Loads the graph of an encoder without its head. */
export async function createEmbedder(
  runtime: Runtime,
  model: AdaptedModel,
  folder: string,
  options: VectorOptions,
): Promise<Embedder> {
  const session = await runtime.load(vectorGraph(model), { folder });
  return {
    embed: async (sequences) => {
      const { vectors } = await session.run(feedsOf(sequences, options.mode));
      const flat = (vectors as Tensor).data as Float32Array;
      const size = flat.length / sequences.length;
      const all = sequences.map((_, e) => flat.slice(e * size, (e + 1) * size));
      return options.isNormalized ? all.map(normalized) : all;
    },
    close: () => session.close(),
  };
}

function feedsOf(sequences: readonly WholeSequence[], mode: PoolingMode): Record<string, Tensor> {
  const { batch, feeds } = packedSequences(sequences);
  const count = sequences.reduce((n, { ids }) => n + ids.length, 0);
  const nodes = new Int32Array(count);
  const pooling = new Float32Array(sequences.length * count);
  let column = 0;
  for (let edge = 0; edge < sequences.length; edge++) {
    const index = batch.edgeLabels[edge] as number;
    const length = (sequences[index] as WholeSequence).ids.length;
    for (let i = 0; i < length; i++, column++) {
      nodes[column] = (batch.edgeNodes[edge] as number) + i;
      pooling[index * count + column] = weightOf(mode, i, length);
    }
  }
  return {
    ...feeds,
    nodes: ints(nodes, [count]),
    pooling: floats(pooling, [sequences.length, count]),
  };
}

/** torch.nn.functional.normalize divides by at least this. */
const LEAST_LENGTH = 1e-12;

function normalized(vector: Float32Array): Float32Array {
  const length = Math.max(LEAST_LENGTH, Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0)));
  return vector.map((x) => x / length);
}
