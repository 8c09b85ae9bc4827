import type { Example, PackedBatch } from "../data/batch.ts";
import { largestSum, type StoredExamples } from "../data/example-store.ts";
import type { Indexed } from "../data/indexed.ts";
import { packingCosts } from "../data/trie.ts";
import type { ClipOptions } from "../optim/clip.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { createOptimizer, type OptimizerOptions } from "../optim/table.ts";
import { parameterCount } from "../peft/parameters.ts";
import { type AdaptedModel, trainablesOf } from "../peft/use/adapted-model.ts";
import type { Runtime, Session } from "../runtime/runtime.ts";
import { random } from "../tensor/random.ts";
import { floats, ints, iota, longs, scalar, type Tensor } from "../tensor/tensor.ts";
import type { Measures } from "./measures.ts";
import { evaluationGraph, gradientGraph, MAX_CHUNK_EDGES, type Recompute, rowBucket } from "./step-graphs.ts";
import { languageModelling } from "./tasks/language-modelling.ts";
import type { Task } from "./tasks/task.ts";
import { optimizerScalarName, scalarName } from "./update-graphs.ts";
import { createUpdater, isStretched } from "./updater.ts";

/** Examples side by side in an evaluation. */
export const EVALUATION_BATCH = 16;
const BUCKET_EDGES = 8;

/** Number of chunks that keeps every batch's edges within bounds. */
export function chunkCount(maxEdges: number): number {
  return Math.max(1, Math.ceil(maxEdges / MAX_CHUNK_EDGES));
}

/** Label tokens that a batch of `size` examples can have at most. */
export function maxBatchLabels({ labelCounts }: Pick<StoredExamples, "labelCounts">, size: number): number {
  return largestSum(labelCounts, size);
}

/** Packs examples for graphs of `chunks` chunks. */
export function packBatch(
  examples: readonly Example[],
  model: AdaptedModel,
  chunks: number,
  task: Task = languageModelling,
): PackedBatch {
  return task.pack(examples, {
    bucket: rowBucket(model),
    stem: true,
    edgeBucket: BUCKET_EDGES * chunks,
    costs: packingCosts(model.config),
  });
}

/** A packed batch as graph inputs. */
export function batchFeeds(batch: PackedBatch, chunks: number): Record<string, Tensor> {
  const { rows, length } = batch;
  const feeds: Record<string, Tensor> = {
    tokens: ints(batch.tokens, [rows, length]),
    positions: longs(BigInt64Array.from(batch.positions, BigInt), [rows, length]),
    ends: ints(batch.ends, [rows, length]),
    columns: iota(length),
    rowIndices: iota(rows),
    stemColumns: iota(batch.stem),
  };
  if (batch.types) feeds.types = ints(batch.types, [rows, length]);
  const size = batch.edgeNodes.length / chunks;
  for (let i = 0; i < chunks; i++) {
    const [from, to] = [i * size, (i + 1) * size];
    feeds[`edgeNodes.${i}`] = ints(batch.edgeNodes.slice(from, to), [size]);
    feeds[`edgeLabels.${i}`] = ints(batch.edgeLabels.slice(from, to), [size]);
    if (batch.edgeTargets) feeds[`edgeTargets.${i}`] = floats(batch.edgeTargets.slice(from, to), [size]);
    feeds[`edgeWeights.${i}`] = floats(batch.edgeWeights.slice(from, to), [size]);
  }
  return feeds;
}

/** Parameters, and the vectors that the optimizer keeps, by their names; [|Θ|] each. */
export interface TrainState {
  readonly theta: Float32Array;
  readonly [vector: string]: Float32Array;
}

/** What one update did. */
export interface UpdateResult {
  /** Mean over the window's labels, before the update. */
  readonly loss: number;
  readonly gradNorm: number;
  /** false: loss, gradient or the parameters to be are not numbers, and nothing was changed. */
  readonly isFinite: boolean;
}

/** Constants of the optimizer and the loss. */
export interface EngineOptions extends OptimizerOptions, ClipOptions {
  readonly labelSmoothing: number;
  readonly seed: number;
  /** Updates of the whole run, for methods that follow a schedule. */
  readonly steps?: number;
  /** Path prefix of a profile of the gradient graph, from its first run until `endProfile`; null for none. */
  readonly profile?: string | null;
  /** Default "none". */
  readonly recompute?: Recompute;
  /** Private copies of the weights in the layout that products read fastest. Default false: they stay memory-mapped. */
  readonly prepack?: boolean;
}

/** Runs updates and holds the state that they change. */
export interface TrainEngine {
  /** One optimizer update from the micro-batches of a window. `step` counts from 1 and seeds the dropout.
   *  Normalized by the label tokens of the whole window, so accumulation equals the big batch. */
  update(window: readonly PackedBatch[], step: number, learningRate: number): Promise<UpdateResult>;
  /** The parameters alone. */
  theta(): Promise<Float32Array>;
  state(): Promise<TrainState>;
  setState(state: TrainState): Promise<void>;
  /** Writes the profile and goes on without. */
  endProfile(): Promise<void>;
  /** Gives back the memory of updates, the state apart; the next update takes it again. Not while a profile is under way. */
  rest(): Promise<void>;
  close(): Promise<void>;
}

/** Factors that make the micro-steps of a window add up to one step. */
interface LossScales {
  /** 1 / label tokens of the window. */
  readonly loss: number;
  /** 1 / micro-batches of the window. */
  readonly penalty: number;
}

/** Where the parameters are many, what one run leaves in a memory pool would be several times as much as them. */
function keepsMemory(model: AdaptedModel): boolean {
  return !isStretched(model);
}

/** Loads the training graphs of a model. */
export async function createTrainEngine(
  runtime: Runtime,
  model: AdaptedModel,
  folder: string,
  options: EngineOptions,
  chunks: number,
  task: Task = languageModelling,
): Promise<TrainEngine> {
  const { labelSmoothing, recompute = "none", prepack = false } = options;
  const arena = keepsMemory(model);
  const optimizer = createOptimizer(options);
  const updater = await createUpdater(runtime, model, options);
  const size = parameterCount(trainablesOf(model.methods));
  let backward: Session | null = null;
  let profile = options.profile ?? null;

  const load = (): Promise<Session> =>
    runtime.load(gradientGraph(model, labelSmoothing, chunks, undefined, recompute, task), {
      folder,
      arena,
      prepack,
      ...(profile === null ? {} : { profile }),
    });
  const closeBackward = async (): Promise<void> => {
    await backward?.close();
    backward = null;
  };

  const accumulate = async (batch: PackedBatch, scales: LossScales, stream: string): Promise<number> => {
    backward ??= await load();
    const takes = new Set(backward.graph.inputs.map((i) => i.name));
    const feeds: Record<string, Tensor> = { ...batchFeeds(batch, chunks), lossScale: scalar(scales.loss) };
    if (takes.has("noise")) feeds.noise = noise(batch, options.seed, stream);
    if (takes.has("penaltyScale")) feeds.penaltyScale = scalar(scales.penalty);
    if (takes.has("zero")) feeds.zero = scalar(0);
    const { loss } = await backward.run(feeds, {
      fetch: ["loss"],
      inPlace: { "gradient.next": "gradient" },
    });
    return (loss as Tensor).data[0] as number;
  };

  return {
    update: async (window, step, learningRate) => {
      const labels = window.reduce((n, b) => n + b.labelCount, 0);
      const scales = { loss: 1 / labels, penalty: 1 / window.length };
      let loss = 0;
      for (const [i, batch] of window.entries())
        loss += await accumulate(batch, scales, `noise ${step}.${i}`);
      const { gradNorm, isKept } = await updater.apply({
        learningRate: scalar(learningRate),
        optimizer: optimizerScalars(optimizer, step),
        loss,
        others: methodScalars(model, step, options.steps ?? step),
      });
      if (!isKept) await runtime.put({ gradient: zeros(size) });
      return { loss, gradNorm, isFinite: isKept };
    },
    theta: async () => (await runtime.get(["theta"])).theta.data as Float32Array,
    // One at a time: each is copied on its way.
    state: async () => {
      const read = async (name: string): Promise<Float32Array> =>
        (await runtime.get([name]))[name]?.data as Float32Array;
      const state: Record<string, Float32Array> & { theta: Float32Array } = { theta: await read("theta") };
      for (const name of optimizer.vectors) state[name] = await read(name);
      return state;
    },
    setState: async (state) => {
      for (const [name, data] of Object.entries(state)) await runtime.put({ [name]: floats(data, [size]) });
      await runtime.put({ gradient: zeros(size) });
    },
    endProfile: async () => {
      await backward?.endProfile();
      profile = null;
    },
    // A profile is of one session, with its pools filled.
    rest: async () => {
      if (profile === null) await closeBackward();
    },
    close: async () => {
      await closeBackward();
      await updater.close();
    },
  };
}

function optimizerScalars(optimizer: Optimizer, step: number): Record<string, Tensor> {
  const entries = Object.entries(optimizer.scalars(step));
  return Object.fromEntries(entries.map(([name, x]) => [optimizerScalarName(name), scalar(x)]));
}

function methodScalars(model: AdaptedModel, step: number, steps: number): Record<string, Tensor> {
  const entries = model.methods.flatMap(({ afterUpdate }, i) =>
    Object.entries(afterUpdate?.scalars(step, steps) ?? {}).map(([n, x]) => [scalarName(i, n), scalar(x)]),
  );
  return Object.fromEntries(entries);
}

function zeros(size: number): Tensor {
  return floats(new Float32Array(size), [size]);
}

function noise(batch: PackedBatch, seed: number, stream: string): Tensor {
  const generator = random(seed, stream);
  const data = Int32Array.from({ length: batch.rows * batch.length }, () => generator.uint32() | 0);
  return ints(data, [batch.rows, batch.length, 1]);
}

/** Loss and measures over examples. */
export interface EvaluationResult extends Measures {
  /** Mean over labels: nats per token, or as the task says. */
  readonly loss: number;
  /** Labels: tokens, or one per example where a task says so. */
  readonly labelTokens: number;
}

/** Scores examples with the parameters that are in the runtime. */
export interface EvaluationEngine {
  evaluate(
    examples: Indexed<Example>,
    options?: { readonly signal?: AbortSignal; readonly onBatch?: (done: number) => void },
  ): Promise<EvaluationResult>;
  close(): Promise<void>;
}

/** Loads the evaluation graph. Batches hold up to `batchSize` examples. */
export async function createEvaluationEngine(
  runtime: Runtime,
  model: AdaptedModel,
  folder: string,
  batchSize: number,
  maxEdges: number,
  task: Task = languageModelling,
): Promise<EvaluationEngine> {
  const chunks = chunkCount(maxEdges);
  const arena = keepsMemory(model);
  const session: Session = await runtime.load(evaluationGraph(model, chunks, task), {
    folder,
    arena,
    prepack: false,
  });
  return {
    evaluate: async (examples, { signal, onBatch } = {}) => {
      let [loss, labels] = [0, 0];
      const scorer = task.scorer(model);
      for (let i = 0; i < examples.length; i += batchSize) {
        signal?.throwIfAborted();
        const batch = packBatch(examples.slice(i, i + batchSize), model, chunks, task);
        const out = await session.run(batchFeeds(batch, chunks));
        loss += Number(out.loss?.data[0]);
        scorer.add(out, batch);
        labels += batch.labelCount;
        onBatch?.(Math.min(i + batchSize, examples.length));
      }
      const mean = loss / labels;
      return { loss: mean, labelTokens: labels, ...scorer.measures(mean, labels) };
    },
    close: () => session.close(),
  };
}
