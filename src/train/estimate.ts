import { packingCosts } from "../data/trie.ts";
import { FORMED_ROWS, matmul } from "../graph/ops/index.ts";
import { input } from "../graph/value.ts";
import type { BaseModel } from "../models/base.ts";
import { outputModule } from "../models/family.ts";
import type { Method } from "../peft/method.ts";
import { parameterCount } from "../peft/parameters.ts";
import { trainablesOf } from "../peft/use/adapted-model.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { floats } from "../tensor/tensor.ts";
import { MAX_CHUNK_EDGES, RECOMPUTE_LEVELS, type Recompute } from "./step-graphs.ts";
import { isStretched } from "./updater.ts";

/** Tokens and edges of a typical batch, and how many batches. */
export interface Workload {
  readonly batches: number;
  readonly trieTokensPerBatch: number;
  /** Tokens that those of a row attend over, the stem's too: attention's scores grow with them. */
  readonly rowTokens: number;
  readonly labelsPerBatch: number;
}

/** Logits of one edge: the vocabulary's, or an encoder's labels. */
function outputSize({ modules, config }: BaseModel): number {
  return outputModule(modules)?.outSize ?? config.vocabSize;
}

/** FLOPs of one forward and backward pass over a batch: twice the forward's for the gradient by the input (none is computed
 *  for frozen weights), and the same for the output layer at the edges. */
function batchFlops(base: BaseModel, work: Workload): number {
  const { perToken, perTokenPair } = packingCosts(base.config);
  const tokens = work.trieTokensPerBatch;
  const head = 2 * base.config.hiddenSize * outputSize(base);
  // Attention's backward has four products for the forward's two.
  return 2 * tokens * perToken + 3 * tokens * work.rowTokens * perTokenPair + 2 * work.labelsPerBatch * head;
}

/** How training uses memory. */
export interface MemoryUse {
  readonly recompute: Recompute;
  readonly prepack: boolean;
  readonly compute: "float32" | "int8";
}

/** Floats per token and layer that stay alive from the forward to the backward pass; counted on the graph. */
function keptFloats({ config: c }: BaseModel, rowTokens: number, recompute: Recompute): number {
  const width = (c.headCount + 2 * c.kvHeadCount) * c.headDim;
  const weighted = 6 * c.hiddenSize + 3 * width + 3 * c.mlpSize;
  const inner = 2 * c.mlpSize + 2 * c.headCount * rowTokens;
  return { none: weighted + inner, cheap: weighted, layer: 2 * c.hiddenSize }[recompute];
}

function activationBytes(base: BaseModel, work: Workload, recompute: Recompute, share: number): number {
  const { layerCount } = base.config;
  const tokens = work.trieTokensPerBatch;
  const kept = share * layerCount * keptFloats(base, work.rowTokens, recompute);
  const oneLayer = keptFloats(base, work.rowTokens, "none");
  const edges = Math.min(work.labelsPerBatch, MAX_CHUNK_EDGES);
  return 4 * ((kept + oneLayer) * tokens + 4 * edges * outputSize(base));
}

/** Memory pools hold the largest of all batches' shapes. */
const POOL_FACTOR = 1.1;

/** Bytes for each element of θ. The four vectors of the state are 16; views of θ, the gradient's pieces and their
 *  concatenation 12; copies on the host for a checkpoint 12. An update at once adds its temporaries, its outputs and what the
 *  memory pool keeps of them. */
const STATE_BYTES = { atOnce: 100, inStretches: 40 };

/** Share of the layers that a gradient passes through: all above the lowest with a trained parameter. */
function backwardShare(layerCount: number, methods: readonly Method[]): number {
  const layers = trainablesOf(methods).map(({ name }) => {
    if (/^(final_norm|head|pooler|classifier)\./.test(name)) return layerCount;
    return Number(/^layers\.(\d+)\./.exec(name)?.[1] ?? 0);
  });
  return 1 - layers.reduce((least, i) => Math.min(least, i), layerCount) / layerCount;
}

/** Bytes of the frozen weights in use. Of a quantized base the blocks, once more where products take them packed, and what is
 *  multiplied with as floats: a part of the output layer, in the forward and the backward pass. */
function weightBytes(
  base: BaseModel,
  frozenBytes: number,
  copies: number,
  compute: MemoryUse["compute"],
): number {
  if (base.bits === 32) return copies * frozenBytes;
  const { hiddenSize, vocabSize } = base.config;
  const head = 2 * 4 * hiddenSize * Math.min(vocabSize, FORMED_ROWS);
  const isPacked = base.bits === 4 || compute === "int8";
  return (isPacked ? 2 : 1) * base.weights.sizeBytes + head;
}

/** Peak resident bytes of a run: the memory-mapped weights that stay frozen, or a copy of them for each direction where they
 *  are prepacked; activations; state. Peaks seen on SmolLM2 with batches of shell-recipes, nothing, attention and activations,
 *  and layers computed again: 1.33, 1.12 and 0.99 GB; by this formula 1.55, 1.26 and 0.94. */
export function estimateMemoryBytes(
  base: BaseModel,
  methods: readonly Method[],
  frozenBytes: number,
  work: Workload,
  { recompute, prepack, compute }: MemoryUse,
): number {
  const process = 220e6;
  const share = backwardShare(base.config.layerCount, methods);
  const copies = weightBytes(base, frozenBytes, prepack ? 1 + share : 1, compute);
  const activations = POOL_FACTOR * activationBytes(base, work, recompute, share);
  const stateBytes = isStretched({ methods }) ? STATE_BYTES.inStretches : STATE_BYTES.atOnce;
  const own = methods.reduce((sum, { stepBytes }) => sum + stepBytes, 0);
  return process + copies + activations + own + stateBytes * parameterCount(trainablesOf(methods));
}

/** Share of the free memory that a run may take without asking. */
const SHARE = 0.7;

/** The level that keeps most of what fits in free memory, and in what a run may take; `bytesAt`: what a level takes. */
export function chooseRecompute(
  bytesAt: (recompute: Recompute) => number,
  freeBytes: number,
  limitBytes: number,
): Recompute {
  const room = Math.min(SHARE * freeBytes, limitBytes);
  return RECOMPUTE_LEVELS.find((level) => bytesAt(level) <= room) ?? "layer";
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
