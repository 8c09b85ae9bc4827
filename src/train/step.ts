import type { Example, PackedBatch } from "../data/batch.ts";
import { shareOut } from "../data/share.ts";
import type { Value } from "../graph/value.ts";
import type { ClipOptions } from "../optim/clip.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { createOptimizer, type OptimizerChoice } from "../optim/table.ts";
import { ALONE, type ProcessGroup } from "../parallel/group.ts";
import { parameterCount } from "../peft/parameters.ts";
import { type AdaptedModel, trainablesOf } from "../peft/use/adapted-model.ts";
import type { LoadOptions, Runtime, Session } from "../runtime/runtime.ts";
import { floats, scalar, type Tensor } from "../tensor/tensor.ts";
import { batchFeeds, noiseFeed, packBatch } from "./batch.ts";
import { gradientGraph, logProbabilityGraph, type Recompute, type StepSubject } from "./step-graphs.ts";
import { optimizerScalarName, scalarName } from "./update-graphs.ts";
import { createUpdater, keepsArena } from "./updater.ts";
import { scoredSequences, weightedBatches } from "./weighing.ts";

/** Parameters, and the vectors that the optimizer keeps, by their names; [|Θ|] each. */
export interface TrainState {
  readonly theta: Float32Array;
  readonly [vector: string]: Float32Array;
}

/** What one update did. */
export interface UpdateResult {
  /** Of the window, before the update: the mean over its labels, or as the objective says. */
  readonly loss: number;
  readonly gradNorm: number;
  /** false: loss, gradient or the parameters to be are not numbers, and nothing was changed. */
  readonly isFinite: boolean;
  /** Label tokens of the window. */
  readonly labelTokens: number;
  /** Tokens that were computed: what examples begin with alike counts once in a micro-batch. */
  readonly trieTokens: number;
}

/** Constants of the optimizer and the loss. */
export interface StepOptions extends OptimizerChoice, ClipOptions {
  readonly labelSmoothing: number;
  readonly seed: number;
  /** Updates of the whole run, for methods that follow a schedule. */
  readonly steps?: number;
  /** Path prefix of a profile of the gradient graph, from its first run until `endProfile`; null for none. */
  readonly profile?: string | null;
  /** Default "none". */
  readonly recompute?: Recompute;
  /** Members that share the examples of a window out among them, and have the same parameters after it. Default: this process alone. */
  readonly group?: ProcessGroup;
  /** Most examples of a member's micro-batch, where there are several. Default: as many as the window's have. */
  readonly batchSize?: number;
  /** Private copies of the weights in the layout that products read fastest. Default false: they stay memory-mapped. */
  readonly prepack?: boolean;
}

/** Runs updates and holds the state that they change. */
export interface TrainEngine {
  /** Loads what updates need. Without, the first does. */
  prepare(): Promise<void>;
  /** One optimizer update from the micro-batches of a window. `step` counts from 1 and seeds the dropout. */
  update(window: readonly (readonly Example[])[], step: number, learningRate: number): Promise<UpdateResult>;
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

/** The batches of a window as they are added up. */
interface Weighed {
  readonly batches: readonly PackedBatch[];
  /** Factor on Σ weights · −log p. */
  readonly scale: number;
  /** Of the window, where it is known before the gradient. */
  readonly loss: number | null;
}

/** The training step of a model, from examples to changed parameters: packed, weighed, forward and backward, updated. `folder`:
 *  of the weights. */
export async function createTrainEngine(
  runtime: Runtime,
  subject: StepSubject,
  folder: string,
  options: StepOptions,
): Promise<TrainEngine> {
  const { model, objective, chunks } = subject;
  const { group = ALONE } = options;
  const optimizer = createOptimizer(options);
  const updater = await createUpdater(runtime, model, options);
  const size = parameterCount(trainablesOf(model.methods));
  const graphs = sessionsOf(runtime, subject, folder, options);
  const feedsOf = (session: Session, batch: PackedBatch, stream: string): Record<string, Tensor> => ({
    ...batchFeeds(batch, chunks),
    ...(takes(session, "noise") ? { noise: noiseFeed(batch, options.seed, stream) } : {}),
  });

  /** How much each label of the window counts. A mean over labels knows that beforehand: normalized by the labels of the whole
   *  window, so that accumulation equals the big batch. Other losses follow from the sequences' log-probabilities. */
  const weigh = async (batches: readonly PackedBatch[], step: number, labels: number): Promise<Weighed> => {
    if (objective.weigh === null) return { batches, scale: 1 / labels, loss: null };
    const session = await graphs.forward();
    const scored = [];
    for (const [i, batch] of batches.entries()) {
      const outputs = await session.run(feedsOf(session, batch, noiseStream(step, i, group)));
      scored.push(...scoredSequences(batch, outputs));
    }
    const all = await group.gather(scored);
    const { loss, weights } = objective.weigh(all.flat());
    const before = all.slice(0, group.rank).reduce((n, list) => n + list.length, 0);
    const own = weights.slice(before, before + scored.length);
    return { batches: weightedBatches(batches, { weights: own }), scale: 1, loss };
  };

  /** Adds a micro-batch's gradient to the window's; returns its part of the loss. */
  const accumulate = async (batch: PackedBatch, scale: number, share: number, stream: string) => {
    const session = await graphs.backward();
    const feeds = { ...feedsOf(session, batch, stream), lossScale: scalar(scale) };
    if (takes(session, "penaltyScale")) Object.assign(feeds, { penaltyScale: scalar(share) });
    if (takes(session, "zero")) Object.assign(feeds, { zero: scalar(0) });
    const inPlace = { "gradient.next": "gradient" };
    const { loss } = await session.run(feeds, { fetch: ["loss"], inPlace });
    return (loss as Tensor).data[0] as number;
  };

  const clearGradient = (): Promise<void> => runtime.put({ gradient: zeros(size) });

  return {
    prepare: async () => {
      await graphs.backward();
    },
    update: async (window, step, learningRate) => {
      const own = ownPart(window, objective, group, options.batchSize);
      const packed = own.map((examples) => packBatch(examples, subject));
      const trieTokens = packed.reduce((n, b) => n + b.trieTokens, 0);
      const counts = Float64Array.of(labelsOf(packed), packed.length, trieTokens);
      await group.sum(counts);
      const [labelTokens, passes, allTokens] = counts as unknown as [number, number, number];
      const { batches, scale, loss: known } = await weigh(packed, step, labelTokens);
      const sum = Float64Array.of(0);
      for (const [i, batch] of batches.entries())
        sum[0] = Number(sum[0]) + (await accumulate(batch, scale, 1 / passes, noiseStream(step, i, group)));
      await sumGradients(runtime, group);
      await group.sum(sum);
      const loss = known ?? Number(sum[0]);
      const { gradNorm, isKept } = await updater.apply({
        learningRate: scalar(learningRate),
        optimizer: optimizerScalars(optimizer, step),
        loss,
        others: methodScalars(model, step, options.steps ?? step),
      });
      if (!isKept) await clearGradient();
      return { loss, gradNorm, isFinite: isKept, labelTokens, trieTokens: allTokens };
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
      await clearGradient();
    },
    endProfile: () => graphs.endProfile(),
    rest: () => graphs.rest(),
    close: async () => {
      await graphs.close();
      await updater.close();
    },
  };
}

/** The graphs that a step runs on batches, each loaded when it is first needed. */
interface StepSessions {
  backward(): Promise<Session>;
  /** Log-probabilities alone. */
  forward(): Promise<Session>;
  endProfile(): Promise<void>;
  rest(): Promise<void>;
  close(): Promise<void>;
}

function sessionsOf(
  runtime: Runtime,
  subject: StepSubject,
  folder: string,
  { labelSmoothing: smoothing, recompute = "none", prepack = false, profile = null }: StepOptions,
): StepSessions {
  const load: LoadOptions = { folder, arena: keepsArena(subject.model), prepack };
  let [forward, backward]: [Session | null, Session | null] = [null, null];
  let prefix = profile;
  const close = async (): Promise<void> => {
    await forward?.close();
    await backward?.close();
    [forward, backward] = [null, null];
  };
  return {
    forward: async () => {
      forward ??= await runtime.load(logProbabilityGraph(subject), load);
      return forward;
    },
    backward: async () => {
      const graph = (): Record<string, Value> => gradientGraph(subject, { smoothing, recompute });
      const keeps = ["gradient.next"];
      backward ??= await runtime.load(graph(), {
        ...load,
        keeps,
        ...(prefix === null ? {} : { profile: prefix }),
      });
      return backward;
    },
    endProfile: async () => {
      await backward?.endProfile();
      prefix = null;
    },
    // A profile is of one session, with its pools filled.
    rest: async () => {
      if (prefix === null) await close();
    },
    close,
  };
}

function takes({ graph }: Session, name: string): boolean {
  return graph.inputs.some((i) => i.name === name);
}

function labelsOf(batches: readonly PackedBatch[]): number {
  return batches.reduce((n, b) => n + b.labelCount, 0);
}

/** Every micro-batch of an update has its own, whoever computes it. */
function noiseStream(step: number, microBatch: number, { rank, size }: ProcessGroup): string {
  return `noise ${step}.${microBatch * size + rank}`;
}

/** Micro-batches of a window that this member computes. */
function ownPart(
  window: readonly (readonly Example[])[],
  { packedSize }: StepSubject["objective"],
  { rank, size }: ProcessGroup,
  batchSize: number = Math.max(...window.map((batch) => batch.length)),
): readonly (readonly Example[])[] {
  if (size === 1) return window;
  const own = shareOut(window.flat(), size, packedSize)[rank] as Example[];
  const count = Math.ceil(own.length / batchSize);
  return Array.from({ length: count }, (_, i) => own.slice(i * batchSize, (i + 1) * batchSize));
}

/** Each member's gradient is of its labels, normalized by those of all: the sum is that of the whole window. */
async function sumGradients(runtime: Runtime, group: ProcessGroup): Promise<void> {
  if (group.size === 1) return;
  const { gradient } = await runtime.get(["gradient"]);
  await group.sum(gradient.data as Float32Array);
  await runtime.put({ gradient });
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
