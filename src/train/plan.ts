import { packingReport } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import type { EncodedDataset } from "../data/examples.ts";
import { InputError } from "../errors.ts";
import { architectureOf } from "../formats/architectures/table.ts";
import { hfModuleName } from "../formats/names.ts";
import { DEFAULT_LORA_CONFIG } from "../formats/peft-config.ts";
import { type BaseModel, parameterTotal } from "../models/base-model.ts";
import type { ScheduleOptions } from "../optim/schedule.ts";
import { type AdaptedModel, positionRoom, trainablesOf } from "../peft/adapted-model.ts";
import type { Method } from "../peft/method.ts";
import { createMethods } from "../peft/methods.ts";
import type { MethodOptions } from "../peft/options.ts";
import { parameterCount, trainedCount } from "../peft/parameters.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { TrainConfig } from "./config.ts";
import { peftModules } from "./config-values.ts";
import { type EncodedSplit, encodeRows } from "./data.ts";
import { EVALUATION_BATCH, maxBatchLabels } from "./engine.ts";
import { estimateMemoryBytes, estimateSeconds, type Workload } from "./estimate.ts";
import type { PlanEvent } from "./events.ts";
import { taskFor } from "./tasks/table.ts";
import type { Task } from "./tasks/task.ts";
import { stepsPerEpoch, totalSteps, type WindowOptions } from "./windows.ts";

/** Everything that a run is before its first step. */
export interface RunPlan {
  readonly task: Task;
  readonly base: BaseModel;
  readonly dataset: Dataset;
  readonly model: AdaptedModel;
  readonly train: EncodedDataset;
  readonly validation: EncodedSplit;
  readonly test: EncodedSplit;
  readonly windows: WindowOptions;
  readonly steps: number;
  readonly schedule: ScheduleOptions;
  /** Label tokens of the largest micro-batch there can be. */
  readonly maxLabels: number;
}

/** Tokens of the largest batch there can be, if nothing were shared. */
export function maxRowTokens(splits: readonly EncodedSplit[], batchSize: number): number {
  const sizes = splits.map((split) => {
    const lengths = (split?.examples ?? []).map((e) => e.ids.length).sort((a, b) => b - a);
    return lengths.slice(0, batchSize).reduce((a, b) => a + b, 0);
  });
  return Math.max(...sizes);
}

/** LoRA's options for a model: the usual modules of its architecture where none are named; the head of an encoder, and what else
 *  its checkpoint lacks, are trained whole. */
function fitted(options: MethodOptions, config: TrainConfig, base: BaseModel, task: Task): MethodOptions {
  const { loraTargets, headModules = [] } = architectureOf(base.config.family);
  const named = config.targetModules !== null || loraTargets === undefined;
  const parts = base.newWeights.map((path) =>
    hfModuleName(base.config.family, path.replace(/\.(weight|bias)$/, "")),
  );
  const isCovered = (part: string): boolean =>
    headModules.some((name) => part === name || part.startsWith(`${name}.`));
  const saved = [...config.modulesToSave, ...headModules, ...parts.filter((part) => !isCovered(part))];
  const lora = { ...options.lora, taskType: task.peftName, modulesToSave: [...new Set(saved)] };
  return { ...options, lora: named ? lora : { ...lora, targetModules: loraTargets } };
}

/** The training options' part that the methods read. */
export function methodOptionsOf(config: TrainConfig): MethodOptions {
  const { rank, alpha, dropout, bias, rsLora, rankPattern, alphaPattern, modulesToSave, init, layers } =
    config;
  const lora = {
    ...DEFAULT_LORA_CONFIG,
    ...{ rank, alpha, dropout, bias, rsLora, rankPattern, alphaPattern, modulesToSave, init },
    targetModules: peftModules(config.targetModules ?? "all-linear"),
    excludeModules: config.excludeModules === null ? null : peftModules(config.excludeModules),
    layersToTransform: layers,
    baseModel: config.model,
  };
  const { prefixLength, infixLength, prefixText: text, prefixProjection: projection } = config;
  return {
    lora,
    loraPlusRatio: config.loraPlusRatio,
    veraInitial: config.veraInitial,
    adaLora: {
      targetRank: config.targetRank,
      warmupSteps: config.rankWarmupSteps,
      finalSteps: config.rankFinalSteps,
      interval: config.rankInterval,
      orthogonality: config.orthogonality,
    },
    prefix: { prefixLength, infixLength, text, projection },
  };
}

function checkLength(config: TrainConfig, base: BaseModel, methods: readonly Method[]): void {
  const room = positionRoom(base.config, methods);
  if (config.maxLength <= room) return;
  const message = `expected at most ${room}, the positions ${config.model} has for it, got ${config.maxLength}`;
  throw new InputError("the training options do not fit the model", [{ where: "maxLength", message }]);
}

/** Encodes the data for a model and works out the run. @throws InputError */
export function planRun(config: TrainConfig, opened: BaseModel, dataset: Dataset): RunPlan {
  const task = taskFor(config.task, opened, dataset.train);
  const base = task.prepare(opened, dataset, config);
  const methods = createMethods(config.method, fitted(methodOptionsOf(config), config, base, task), base);
  task.checkMethods(base, methods);
  checkLength(config, base, methods);
  const train = encodeRows(dataset.train, base, config, methods, task);
  if (!train)
    throw new InputError("there is nothing to train on", [{ where: "data", message: "has no rows" }]);
  const validation = encodeRows(task.labelled(dataset.validation, base), base, config, methods, task);
  const test = encodeRows(task.labelled(dataset.test, base), base, config, methods, task);
  const { batchSize, accumulation, epochs, maxSteps, seed } = config;
  const windows = { examples: train.examples.length, batchSize, accumulation, epochs, maxSteps, seed };
  const steps = totalSteps(windows);
  const warmupSteps = config.warmupSteps ?? Math.round((config.warmupRatio ?? 0) * steps);
  return {
    task,
    base,
    dataset,
    model: {
      config: base.config,
      family: base.family,
      modules: base.modules,
      frozen: base.frozen,
      methods,
      positionCount: config.maxLength,
      rowTokens: maxRowTokens([train, validation, test], Math.max(batchSize, EVALUATION_BATCH)),
    },
    train,
    validation,
    test,
    windows,
    steps,
    schedule: { schedule: config.schedule, learningRate: config.learningRate, warmupSteps, steps },
    maxLabels: maxBatchLabels(train.examples, batchSize),
  };
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
  const { task, base, train, windows, steps } = plan;
  const packing = packingReport(train.examples, windows.batchSize, windows.seed, task.packedSize);
  const trainables = trainablesOf(plan.model.methods);
  const trainableParameters = trainedCount(trainables);
  const totalParameters = parameterTotal(base.modules) + trainableParameters;
  const perEpoch = stepsPerEpoch(windows);
  const work: Workload = {
    batches: (steps / perEpoch) * packing.batches,
    trieTokensPerBatch: packing.trieTokens / packing.batches,
    labelsPerBatch: train.report.labelTokens / packing.batches,
    stateParameters: parameterCount(trainables),
  };
  return {
    type: "plan",
    model: config.model,
    task: task.name,
    labels: labelNames(base),
    lossUnit: task.lossUnit,
    counts: task.counts,
    command: task.command,
    method: config.method,
    data: config.data.join(", "),
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
    },
    steps,
    stepsPerEpoch: perEpoch,
    truncated: train.report.truncated,
    dropped: train.report.dropped,
    estimatedMemoryBytes: estimateMemoryBytes(base, work),
    estimatedSeconds: await estimateSeconds(runtime, base, work),
    runFolder,
  };
}
