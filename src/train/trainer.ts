import { readdir, rm } from "node:fs/promises";
import type { Example } from "../data/batch.ts";
import type { Dataset } from "../data/dataset.ts";
import { previewExample } from "../data/encode.ts";
import { type BaseModel, openBase } from "../models/base-model.ts";
import { learningRateAt } from "../optim/schedule.ts";
import { openRuntime } from "../runtime/runtime.ts";
import { newestCheckpoint } from "./checkpoint.ts";
import type { TrainConfig, TrainOptions } from "./config.ts";
import { completeTrainConfig, saveTrainConfig } from "./config-file.ts";
import { readData } from "./data.ts";
import type {
  EvaluationEvent,
  PlanEvent,
  PreviewEvent,
  ProgressEvent,
  SamplesEvent,
  TrainEvent,
  WarningEvent,
} from "./events.ts";
import { lockRunFolder } from "./lock.ts";
import { type MetricsLog, openMetricsLog } from "./metrics-log.ts";
import { planEvent, planRun, type RunPlan } from "./plan.ts";
import { withProgress } from "./progress.ts";
import { writeReport } from "./report/report.ts";
import {
  adapterFolder,
  checkMovement,
  checkpoint,
  evaluateSplit,
  exportAdapter,
  noteEvaluation,
  type Run,
  restoreBest,
  startRun,
  takeSamples,
  takeStep,
} from "./run.ts";
import { prepareRunFolder } from "./run-folder.ts";

/** Checkpoints of a run where `checkpointEvery` is not given. */
const CHECKPOINTS_PER_RUN = 5;
const PREVIEW_EXAMPLES = 2;

/** How to run. */
export interface TrainRunOptions {
  /** Aborting finishes the step, writes a checkpoint and ends with a `stopped` event. */
  readonly signal?: AbortSignal;
}

/** Fine-tunes a model as a stream of typed events: reads the data (before anything is fetched), opens the model, says the
 *  plan, evaluates, trains with checkpoints, evaluates again, and writes the adapter in PEFT's format.
 *  @throws InputError for everything wrong in options or data; TrainingError when training cannot go on; and what opening
 *  the model throws. Options not given have their defaults. */
export async function* train(
  options: TrainOptions,
  { signal }: TrainRunOptions = {},
): AsyncGenerator<TrainEvent> {
  const config = await completeTrainConfig(options);
  if (config.dryRun) return yield* dryRun(config, signal);
  const folder = await prepareRunFolder(config);
  const release = await lockRunFolder(folder);
  try {
    yield* inFolder(config, folder, signal);
  } finally {
    await release();
    await removeIfEmpty(folder);
  }
}

/** A run that failed before its first file leaves no folder. */
async function removeIfEmpty(folder: string): Promise<void> {
  if ((await readdir(folder).catch(() => ["?"])).length === 0)
    await rm(folder, { recursive: true, force: true });
}

interface Prepared {
  readonly base: BaseModel;
  readonly dataset: Dataset;
  readonly plan: RunPlan;
}

async function* prepare(
  config: TrainConfig,
  signal: AbortSignal | undefined,
): AsyncGenerator<ProgressEvent | WarningEvent, Prepared> {
  const dataset = await readData(config, config);
  const base = yield* withProgress((onProgress) =>
    openBase(config.model, { offline: config.offline, onProgress, ...(signal ? { signal } : {}) }),
  );
  const plan = planRun(config, base, dataset);
  for (const message of dataWarnings(plan)) yield { type: "warning", message };
  return { base, dataset, plan };
}

function dataWarnings({ dataset, train }: RunPlan): string[] {
  const { duplicates } = dataset;
  const shared = (split: "validation" | "test"): string =>
    `${duplicates[split]} of ${dataset[split].length} ${split} rows are also training rows: the ${split} loss is too good`;
  return [
    ...(["validation", "test"] as const).filter((s) => duplicates[s] > 0).map(shared),
    ...(train.report.inexact > 0
      ? [
          `the chat template rewrites the content of ${train.report.inexact} rows: their labels were found by comparing text`,
        ]
      : []),
  ];
}

async function* dryRun(config: TrainConfig, signal: AbortSignal | undefined): AsyncGenerator<TrainEvent> {
  const { plan } = yield* prepare(config, signal);
  const runtime = openRuntime(config);
  try {
    yield await planEvent(config, plan, runtime, config.output ?? "");
    yield preview(plan);
  } finally {
    await runtime.close();
  }
}

function preview({ train, base }: RunPlan): PreviewEvent {
  const first: readonly Example[] = train.examples.slice(0, PREVIEW_EXAMPLES);
  return { type: "preview", examples: first.map((e) => previewExample(e, base.tokenizer)) };
}

async function* inFolder(
  config: TrainConfig,
  folder: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<TrainEvent> {
  const { plan } = yield* prepare(config, signal);
  const { checkpoint: from, damaged } =
    config.resume === false ? { checkpoint: null, damaged: [] } : await newestCheckpoint(folder);
  for (const message of damaged) yield { type: "warning", message: `checkpoint passed over: ${message}` };
  await saveTrainConfig(folder, config);
  const runtime = openRuntime(config);
  const log = await openMetricsLog(folder, { resumeStep: from?.progression.step ?? null });
  try {
    const planned = await planEvent(config, plan, runtime, folder);
    yield planned;
    yield preview(plan);
    const run = await startRun({ config, plan, folder, runtime, signal }, from);
    if (from) yield { type: "resumed", step: from.progression.step, path: from.path };
    yield* logged(log, wholeRun(run, planned));
  } finally {
    await log.close();
    await runtime.close();
  }
}

/** Passes events on, and those with measures into the log. */
async function* logged(log: MetricsLog, events: AsyncGenerator<TrainEvent>): AsyncGenerator<TrainEvent> {
  for await (const event of events) {
    if (event.type === "step" || event.type === "evaluation" || event.type === "samples")
      await log.append(event);
    yield event;
  }
}

async function* wholeRun(run: Run, planned: PlanEvent): AsyncGenerator<TrainEvent> {
  try {
    if (run.progression.step === 0) yield* before(run);
    yield* steps(run);
    yield* after(run, planned);
  } catch (error) {
    if (!run.signal?.aborted || error !== run.signal.reason) throw error;
    yield* interrupted(run);
  }
}

async function* before(run: Run): AsyncGenerator<EvaluationEvent | SamplesEvent> {
  yield* evaluations(run);
  const samples = await takeSamples(run, "before");
  if (samples) yield samples;
}

/** Every held-out split. The loss that the run is judged by is the test's, else the validation's. */
async function* evaluations(run: Run): AsyncGenerator<EvaluationEvent> {
  for (const split of ["validation", "test"] as const) {
    const encoded = run.plan[split];
    if (!encoded) continue;
    const event = await evaluateSplit(run, split, encoded);
    if (run.progression.step === 0) run.progression = { ...run.progression, lossBefore: event.loss };
    yield event;
  }
}

async function* steps(run: Run): AsyncGenerator<TrainEvent> {
  const { config, plan } = run;
  const checkpointEvery = config.checkpointEvery ?? Math.ceil(plan.steps / CHECKPOINTS_PER_RUN);
  const firstMoving = firstStepWithRate(plan);
  while (run.progression.step < plan.steps) {
    run.signal?.throwIfAborted();
    yield await takeStep(run);
    const { step } = run.progression;
    if (step === firstMoving) {
      const warning = await checkMovement(run);
      if (warning) yield warning;
    }
    const isBest = config.evalEvery !== null && step % config.evalEvery === 0 ? yield* midway(run) : false;
    if (isBest || step % checkpointEvery === 0 || step === plan.steps) yield await checkpoint(run);
    const { staleEvaluations } = run.progression;
    if (config.earlyStopping !== null && staleEvaluations >= config.earlyStopping) {
      yield { type: "stopped", reason: "early-stopping", step, resumeHint: null };
      return;
    }
  }
}

function firstStepWithRate({ schedule, steps: count }: RunPlan): number {
  for (let step = 1; step <= count; step++) if (learningRateAt(step - 1, schedule) > 0) return step;
  return -1;
}

/** An evaluation between steps; whether it is the best so far. */
async function* midway(run: Run): AsyncGenerator<EvaluationEvent, boolean> {
  const split = run.plan.validation ? "validation" : "test";
  const encoded = run.plan[split];
  if (!encoded) return false;
  const event = await evaluateSplit(run, split, encoded);
  noteEvaluation(run, event);
  yield event;
  return event.isBest;
}

async function* after(run: Run, planned: PlanEvent): AsyncGenerator<TrainEvent> {
  if (run.savedStep !== run.progression.step) yield await checkpoint(run);
  const theta = await restoreBest(run);
  let lossAfter: number | null = null;
  for await (const event of evaluations(run)) {
    lossAfter = event.loss;
    yield event;
  }
  const samples = await takeSamples(run, "after");
  if (samples) yield samples;
  const adapterPath = adapterFolder(run.folder);
  await exportAdapter(run, theta, adapterPath);
  const { step, elapsedMs, bestStep, lossBefore } = run.progression;
  const outcome = { steps: step, elapsedMs, adapterPath, bestStep, lossBefore, lossAfter };
  const reportPath = await writeReport(run.folder, { config: run.config, plan: planned, outcome });
  yield { type: "done", ...outcome, reportPath };
}

async function* interrupted(run: Run): AsyncGenerator<TrainEvent> {
  const { step } = run.progression;
  if (step > 0 && run.savedStep !== step) yield await checkpoint(run);
  const resumeHint = `lowrank train --resume ${run.folder}`;
  yield { type: "stopped", reason: "interrupt", step, resumeHint };
}
