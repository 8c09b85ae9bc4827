import { totalmem } from "node:os";
import { type PackingReport, packingReport } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import { largestSum } from "../data/example-store.ts";
import type { EncodedDataset } from "../data/examples.ts";
import type { Rows } from "../data/rows.ts";
import { longestRow } from "../data/trie.ts";
import type { RowWork } from "../data/visit-rows.ts";
import { InputError, type Problem } from "../errors.ts";
import { architectureOf } from "../formats/architectures/table.ts";
import { hfModuleName } from "../formats/names.ts";
import { publicModelName } from "../hub/resolve.ts";
import type { BaseModel } from "../models/base.ts";
import { parameterTotal } from "../models/base-model.ts";
import { moduleWeights } from "../models/family.ts";
import type { Objective } from "../objectives/objective.ts";
import type { ScheduleOptions } from "../optim/schedule.ts";
import { createOptimizer } from "../optim/table.ts";
import type { Method } from "../peft/method.ts";
import type { TrainingUse } from "../peft/method-kind.ts";
import { createMethods } from "../peft/methods/table.ts";
import { trainedCount } from "../peft/parameters.ts";
import { type AdaptedModel, trainablesOf } from "../peft/use/adapted-model.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { checkScoring } from "./answers.ts";
import { chunkCount, maxBatchLabels, packBatch } from "./batch.ts";
import type { RunIdentity } from "./checkpoint.ts";
import type { TrainConfig } from "./config/config.ts";
import { type EncodedSplit, encodeRows, lengthLimit } from "./data.ts";
import { chooseRecompute, estimateMemoryBytes, estimateSeconds, type Workload } from "./estimate.ts";
import { EVALUATION_BATCH } from "./evaluation.ts";
import type { PlanEvent, ResourcePlan } from "./events.ts";
import { runIdentityOf } from "./identity.ts";
import { checkMemory, gibibytes, withBatches } from "./memory-limit.ts";
import { stateResources } from "./resources.ts";
import type { Recompute, StepSubject } from "./step-graphs.ts";
import { taskFor } from "./tasks/table.ts";
import type { Task } from "./tasks/task.ts";
import { trainedPlaces } from "./trained-places.ts";
import { stepsPerEpoch, totalSteps, type WindowOptions } from "./windows.ts";

/** Everything that a run is before its first step. */
export interface RunPlan {
  readonly task: Task;
  readonly base: BaseModel;
  readonly dataset: Dataset;
  /** What a checkpoint must be of, for the run to go on from it. */
  readonly identity: RunIdentity;
  readonly model: AdaptedModel;
  readonly train: EncodedDataset;
  readonly validation: EncodedSplit;
  readonly test: EncodedSplit;
  readonly windows: WindowOptions;
  readonly steps: number;
  readonly schedule: ScheduleOptions;
  /** What its steps are built from: chunks for the largest micro-batch there can be. */
  readonly subject: StepSubject;
  readonly packing: PackingReport;
  readonly work: Workload;
  /** As the options say, or chosen from the free memory. */
  readonly recompute: Recompute;
  readonly resources: ResourcePlan;
}

/** Tokens of the longest row there can be: those of the largest batch, if nothing were shared, as far as rows go. */
export function maxRowTokens(splits: readonly EncodedSplit[], batchSize: number): number {
  const sizes = splits.map((split) => {
    const lengths = split?.lengths ?? new Map<number, number>();
    return Math.min(largestSum(lengths, batchSize), longestRow(largestSum(lengths, 1)));
  });
  return Math.max(...sizes);
}

/** What the methods must know of a task on a model: the head of an encoder, and what else its checkpoint lacks, are trained whole. */
export function trainingUse(base: Pick<BaseModel, "config" | "newWeights">, task: Task): TrainingUse {
  const { headModules = [] } = architectureOf(base.config.family);
  const parts = base.newWeights.map((path) =>
    hfModuleName(base.config.family, path.replace(/\.(weight|bias)$/, "")),
  );
  const isCovered = (part: string): boolean =>
    headModules.some((name) => part === name || part.startsWith(`${name}.`));
  return {
    taskType: task.peftName,
    wholeModules: [...new Set([...headModules, ...parts.filter((part) => !isCovered(part))])],
  };
}

/** Memory that a run may take, and that is free; default: what the machine has. */
export interface MemoryLimits {
  readonly limitBytes?: number;
  readonly freeBytes?: number;
}

/** Encodes the data for a model and works out the run.
 *  @throws InputError; LowrankError ("memory_limit") */
export async function planRun(
  config: TrainConfig,
  opened: BaseModel,
  dataset: Dataset,
  { limitBytes, freeBytes, ...rowWork }: RowWork & MemoryLimits = {},
): Promise<RunPlan> {
  const task = taskFor(config.task, opened, dataset.train);
  checkObjective(config, task.objective);
  const base = task.prepare(opened, dataset, config);
  const methods = createMethods(config.method, config, base, trainingUse(base, task));
  task.checkMethods(base, methods);
  checkSize(methods);
  const { test: testRows, validation: validationRows } = dataset;
  checkScoring(config.scoreAnswers, base, methods, testRows.length > 0 ? testRows : validationRows, task);
  const maxLength = lengthLimit(config, base, methods);
  const encode = (rows: Rows): Promise<EncodedSplit> =>
    encodeRows(rows, base, { ...config, ...rowWork, maxLength }, methods, task.objective);
  const train = await encode(dataset.train);
  if (!train)
    throw new InputError("there is nothing to train on", [{ where: "data", message: "has no rows" }]);
  const validation = await encode(task.objective.labelled(dataset.validation, base));
  const test = await encode(task.objective.labelled(dataset.test, base));
  const { batchSize, accumulation, epochs, maxSteps, seed, groupByPrefix: isGrouped } = config;
  const windows = { examples: train.examples.length, batchSize, accumulation, epochs, maxSteps, seed };
  const steps = totalSteps(windows);
  const warmupSteps = config.warmupSteps ?? Math.round((config.warmupRatio ?? 0) * steps);
  const model: AdaptedModel = {
    config: base.config,
    family: base.family,
    modules: base.modules,
    frozen: config.compute === "int8" ? base.decoding : base.frozen,
    methods,
    positionCount: maxLength,
    rowTokens: maxRowTokens([train, validation, test], Math.max(batchSize, EVALUATION_BATCH)),
  };
  const { objective } = task;
  const { packedSize } = objective;
  const typical = packBatch(train.examples.slice(0, batchSize), { model, objective, chunks: 1 });
  const packing = packingReport(train.examples, { batchSize, seed, isGrouped, packedSize });
  const work: Workload = {
    batches: (steps / stepsPerEpoch(windows)) * packing.batches,
    trieTokensPerBatch: packing.trieTokens / packing.batches,
    rowTokens: typical.length + typical.stem,
    labelsPerBatch: train.report.labelTokens / packing.batches,
  };
  return {
    task,
    base,
    dataset,
    identity: runIdentityOf(base, train, model),
    model,
    train,
    validation,
    test,
    windows,
    steps,
    schedule: { schedule: config.schedule, learningRate: config.learningRate, warmupSteps, steps },
    subject: { model, objective, chunks: chunkCount(maxBatchLabels(train, batchSize)) },
    packing,
    work,
    ...planMemory(config, base, methods, work, { limitBytes, freeBytes }),
  };
}

/** @throws InputError for options that have no effect on what the objective does */
function checkObjective(
  { groupByPrefix, labelSmoothing }: TrainConfig,
  { name, sharesPrefixes, smooths }: Objective,
): void {
  const problems: Problem[] = [];
  if (groupByPrefix && !sharesPrefixes)
    problems.push({
      where: "groupByPrefix",
      message: `nothing is shared in ${name}: each example is computed whole`,
    });
  if (labelSmoothing > 0 && !smooths)
    problems.push({
      where: "labelSmoothing",
      message: `has no effect in ${name}: there are no classes to smooth over`,
    });
  if (problems.length > 0) throw new InputError("the training options do not hold:", problems);
}

/** Bytes that a trained parameter takes: itself, its gradient and two moments, as floats. */
const TRAINING_BYTES = 16;

/** @throws InputError if the parameters that are trained cannot be held in this machine's memory */
function checkSize(methods: readonly Method[]): void {
  const parameters = trainedCount(trainablesOf(methods));
  const bytes = parameters * TRAINING_BYTES;
  if (bytes <= totalmem() && parameters < 2 ** 31) return;
  throw new InputError("the adapter is too large", [
    {
      where: methods.map((m) => m.name).join("+"),
      message:
        `trains ${parameters.toLocaleString("en")} parameters, which take ${gibibytes(bytes)} with gradient and optimizer ` +
        `state; this machine has ${gibibytes(totalmem())}: take a lower rank or size, or fewer modules`,
    },
  ]);
}

/** What a run will take: bytes of its state and files, and the memory that it works in; and what is computed again for that. */
function planMemory(
  config: TrainConfig,
  base: BaseModel,
  methods: readonly Method[],
  work: Workload,
  {
    limitBytes = Number.POSITIVE_INFINITY,
    freeBytes = process.availableMemory(),
  }: { readonly [K in keyof MemoryLimits]: MemoryLimits[K] | undefined },
): Pick<RunPlan, "recompute" | "resources"> {
  const { recompute: wanted, prepack, compute } = config;
  const state = stateResources(
    base,
    methods,
    publicModelName(base.source.name),
    createOptimizer(config).vectors,
    base.bits === 32 ? null : base.weights.sizeBytes,
  );
  const { frozenBytes, trainableBytes, gradientBytes, optimizerBytes } = state;
  const { batchSize, accumulation } = config;
  const bytesAt = (size: number, recompute: Recompute): number => {
    const use = { recompute, prepack, compute };
    return Math.round(
      estimateMemoryBytes(base, methods, frozenBytes, withBatches(work, size / batchSize), use),
    );
  };
  const chosen = (): Recompute =>
    chooseRecompute((level) => bytesAt(batchSize, level), freeBytes, limitBytes);
  const recompute = wanted === "auto" ? chosen() : wanted;
  const memoryBytes = bytesAt(batchSize, recompute);
  checkMemory({ batchSize, accumulation, recompute, memoryBytes, bytesAt }, limitBytes);
  const workingBytes = memoryBytes - frozenBytes - trainableBytes - gradientBytes - optimizerBytes;
  return { recompute, resources: { ...state, workingBytes, memoryBytes } };
}

function labelNames({ config }: BaseModel): readonly string[] | null {
  const classifier = config.encoder?.classifier;
  return classifier?.kind === "classes" ? classifier.labels : null;
}

/** The plan as it is shown, with memory and time estimated on this machine. */
export async function planEvent(
  config: TrainConfig,
  plan: RunPlan,
  runtime: Runtime,
  runFolder: string,
): Promise<PlanEvent> {
  const { task, base, train, windows, steps, packing, work, recompute, resources } = plan;
  const trainables = trainablesOf(plan.model.methods);
  const trainableParameters = trainedCount(trainables);
  // Weights that are trained themselves are the model's own: they are there once.
  const own = new Set(base.modules.flatMap(moduleWeights).map((w) => w.path));
  const added = trainables.filter((t) => !own.has(t.name));
  const totalParameters = parameterTotal(base.modules) + trainedCount(added);
  const perEpoch = stepsPerEpoch(windows);
  return {
    type: "plan",
    model: config.model,
    task: task.name,
    labels: labelNames(base),
    lossUnit: task.objective.lossUnit,
    counts: task.objective.counts,
    command: task.command,
    method: config.method,
    data: config.data.join(", "),
    trained: trainedPlaces(trainables, base),
    trainableParameters,
    totalParameters,
    share: trainableParameters / totalParameters,
    examples: train.examples.length,
    validationExamples: plan.validation?.examples.length ?? 0,
    testExamples: plan.test?.examples.length ?? 0,
    tokensPerEpoch: {
      padded: packing.paddedTokens,
      trie: packing.trieTokens,
      labels: train.report.labelTokens,
      countedBatches: packing.countedBatches < packing.batches ? packing.countedBatches : null,
    },
    steps,
    stepsPerEpoch: perEpoch,
    truncated: train.report.truncated,
    dropped: train.report.dropped,
    recompute,
    resources,
    estimatedSeconds: await estimateSeconds(runtime, base, work),
    runFolder,
  };
}
