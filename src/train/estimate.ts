import { packingCosts } from "../data/trie.ts";
import { matmul } from "../graph/ops/index.ts";
import { input } from "../graph/value.ts";
import type { BaseModel } from "../models/base-model.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { floats } from "../tensor/tensor.ts";

/** Tokens and edges of a typical batch, and how many batches. */
export interface Workload {
  readonly batches: number;
  readonly trieTokensPerBatch: number;
  readonly labelsPerBatch: number;
  /** Length of θ. */
  readonly stateParameters: number;
}

/** FLOPs of one forward and backward pass over a batch: twice the forward's for the gradient by the input (none is computed
 *  for frozen weights), and the same for the output layer at the edges. */
function batchFlops(base: BaseModel, work: Workload): number {
  const { perToken, perTokenPair } = packingCosts(base.config);
  const tokens = work.trieTokensPerBatch;
  const head = 2 * base.config.hiddenSize * base.config.vocabSize;
  // Attention's backward has four products for the forward's two.
  return 2 * tokens * perToken + 3 * tokens * tokens * perTokenPair + 2 * work.labelsPerBatch * head;
}

/** Floats that stay alive from the forward to the backward pass, per token, in units of model sizes; counted on the graph and
 *  checked against the resident memory of a 30-layer run (2.8 GB measured at 384 tokens, 2.7 GB by this formula). */
function activationBytes(base: BaseModel, work: Workload): number {
  const c = base.config;
  const width = (c.headCount + 2 * c.kvHeadCount) * c.headDim;
  const perToken = 6 * c.hiddenSize + 3 * width + 5 * c.mlpSize + 2 * c.headCount * work.trieTokensPerBatch;
  const logits = 4 * work.labelsPerBatch * c.vocabSize;
  return 4 * (c.layerCount * perToken * work.trieTokensPerBatch + logits);
}

/** Memory pools hold the largest of all batches' shapes, and more than is in use. */
const POOL_FACTOR = 1.3;

/** Bytes of the frozen weights in use: memory-mapped, with a prepacked copy for each direction of training and one for
 *  evaluation. Of a quantized base the blocks alone, and the matrix that is being multiplied with as floats: at most the
 *  output layer, in the forward and the backward pass. */
function weightBytes(base: BaseModel): number {
  if (base.bits === 32) return 4 * base.weights.sizeBytes;
  return base.weights.sizeBytes + 2 * 4 * base.config.hiddenSize * base.config.vocabSize;
}

/** Peak resident bytes of a run: weights, activations, optimizer. The quick start peaked at 3.1 to 3.7 GB in five runs, 3.2 by this formula. */
export function estimateMemoryBytes(base: BaseModel, work: Workload): number {
  const process = 150e6;
  return process + weightBytes(base) + POOL_FACTOR * activationBytes(base, work) + 24 * work.stateParameters;
}

/** Multiply-adds as FLOPs per second of this machine, measured on one product like the model's. */
async function measureFlopsPerSecond(runtime: Runtime, base: BaseModel): Promise<number> {
  const [m, k, n] = [256, base.config.hiddenSize, base.config.mlpSize];
  const product = { c: matmul(input("a", "float32", [m, k]), input("b", "float32", [k, n])) };
  const session = await runtime.load(product);
  await runtime.put({
    a: floats(new Float32Array(m * k), [m, k]),
    b: floats(new Float32Array(k * n), [k, n]),
  });
  const times: number[] = [];
  for (let i = 0; i < 12; i++) {
    const started = performance.now();
    await session.run({}, { fetch: [], carry: { c: "c" } });
    times.push(performance.now() - started);
  }
  await session.close();
  const nothing = floats(new Float32Array(0), [0]);
  await runtime.put({ a: nothing, b: nothing, c: nothing }); // what is kept stays in memory for the whole run
  const median = times.sort((x, y) => x - y)[Math.floor(times.length / 2)] as number;
  return (2 * m * k * n * 1000) / median;
}

/** Seconds that the training steps will take on this machine. A step reaches about 85% of a single product's rate. */
export async function estimateSeconds(runtime: Runtime, base: BaseModel, work: Workload): Promise<number> {
  const rate = 0.85 * (await measureFlopsPerSecond(runtime, base));
  return (work.batches * batchFlops(base, work)) / rate;
}
