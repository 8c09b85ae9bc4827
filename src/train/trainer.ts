import { readdir, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type Example, sequencesOf } from "../data/batch.ts";
import type { Dataset } from "../data/dataset.ts";
import { noteText } from "../data/notes.ts";
import { openSpill, type Spill } from "../data/spill.ts";
import { cacheFolder } from "../io/cache-folder.ts";
import { storing } from "../io/disk.ts";
import { openBase } from "../models/base-model.ts";
import { type ChosenDevice, chooseDevice } from "../runtime/check/choose.ts";
import { usesHostMemory } from "../runtime/device.ts";
import { openRuntime } from "../runtime/runtime.ts";
import { type Checkpoint, newestCheckpoint } from "./checkpoint.ts";
import type { TrainConfig, TrainOptions } from "./config/config.ts";
import { completeTrainConfig, saveTrainConfig } from "./config/file.ts";
import { readData } from "./data.ts";
import type { PreviewEvent, ProgressEvent, TrainEvent, WarningEvent } from "./events.ts";
import { checkIdentity } from "./identity.ts";
import { lockRunFolder } from "./lock.ts";
import { interruptedEvent, isAbort, wholeRun } from "./loop.ts";
import { METRICS_FILE, type MetricsLog, openMetricsLog } from "./metrics-log.ts";
import { type MemoryLimits, planEvent, planRun, type RunPlan } from "./plan.ts";
import { withProgress } from "./progress.ts";
import { startRun } from "./run.ts";
import { prepareRunFolder } from "./run-folder.ts";

const PREVIEW_EXAMPLES = 2;
/** A dry run is for looking. */
const DRY_RUN_EXAMPLES = 4;

/** How to run. */
export interface TrainRunOptions {
  /** Aborting finishes the step, writes a checkpoint and ends with a `stopped` event. */
  readonly signal?: AbortSignal;
  /** Bytes of rows, and of examples, that are kept in memory; more than that goes to a temporary file in the cache folder.
   *  Default 8 MiB. */
  readonly memoryBytes?: number;
  /** Memory that the run may take. One that is estimated to take more is refused before anything is written, with a LowrankError
   *  ("memory_limit") that says what would fit. Default: what the machine has. */
  readonly limitBytes?: number;
}

/** Options with the day that the chat template takes for today: a run that goes on later keeps its first one. */
function dated(config: TrainConfig): TrainConfig {
  return { ...config, templateDate: config.templateDate ?? new Date().toISOString() };
}

/** What the parts of a run are given. */
interface Means {
  readonly signal: AbortSignal;
  readonly spill: Spill;
  readonly limitBytes: number | undefined;
  readonly where: ChosenDevice;
}

/** Fine-tunes a model as a stream of typed events: reads the data (before anything is fetched), opens the model, says the
 *  plan, evaluates, trains with checkpoints, evaluates again, and writes the adapter in PEFT's format. A caller that stops
 *  listening ends the run where it is; steps since the last checkpoint are lost then.
 *  @throws InputError for everything wrong in options or data; TrainingError when training cannot go on; and what opening
 *  the model throws. Options not given have their defaults. */
export async function* train(
  options: TrainOptions,
  runOptions: TrainRunOptions = {},
): AsyncGenerator<TrainEvent> {
  yield* trainWith(await completeTrainConfig(options), runOptions);
}

/** `train` with options that are complete: of `loadTrainConfig`. */
export async function* trainWith(
  options: TrainConfig,
  { signal, memoryBytes, limitBytes }: TrainRunOptions = {},
): AsyncGenerator<TrainEvent> {
  const config = dated(options);
  const own = new AbortController();
  const forward = (): void => own.abort(signal?.reason);
  signal?.addEventListener("abort", forward);
  if (signal?.aborted) forward();
  const spill = openSpill(cacheFolder(), memoryBytes);
  try {
    const means = { signal: own.signal, spill, limitBytes, where: await chooseDevice(config.device) };
    yield* config.dryRun ? dryRun(config, means) : withFolder(config, means);
  } catch (error) {
    if (!isAbort(error, own.signal)) throw error;
    yield interruptedEvent(0, typeof config.resume === "string" ? config.resume : null);
  } finally {
    signal?.removeEventListener("abort", forward);
    own.abort(); // what is still under way when the caller stops listening
    spill.close();
  }
}

async function* dryRun(config: TrainConfig, means: Means): AsyncGenerator<TrainEvent> {
  const dataset = yield* reading(config, means);
  const plan = yield* planning(config, dataset, means);
  const runtime = openRuntime({ ...config, device: means.where.device });
  try {
    yield await planEvent(config, plan, runtime, config.output ?? "");
    yield preview(plan, DRY_RUN_EXAMPLES);
  } finally {
    await runtime.close();
  }
}

/** Data come first: where they are wrong, no folder is made and nothing is fetched. */
async function* withFolder(config: TrainConfig, means: Means): AsyncGenerator<TrainEvent> {
  const dataset = yield* reading(config, means);
  const folder = await storing(config.output ?? "runs", () => prepareRunFolder(config));
  const release = await storing(folder, () => lockRunFolder(folder));
  try {
    yield* inFolder(config, dataset, folder, means);
  } finally {
    await release();
    await removeIfEmpty(folder, config);
  }
}

/** A run that failed before its first file leaves no folder. */
async function removeIfEmpty(folder: string, config: TrainConfig): Promise<void> {
  if ((await readdir(folder).catch(() => ["?"])).length > 0) return;
  await rm(folder, { recursive: true, force: true });
  if (config.output === null) await rmdir(dirname(folder)).catch(() => undefined); // holds other runs
}

async function* reading(
  config: TrainConfig,
  { signal, spill }: Means,
): AsyncGenerator<ProgressEvent, Dataset> {
  signal.throwIfAborted();
  const { offline } = config;
  const dataset = yield* withProgress((onProgress) =>
    readData(config, config, { offline, spill, onProgress, signal }),
  );
  signal.throwIfAborted();
  return dataset;
}

async function* planning(
  config: TrainConfig,
  dataset: Dataset,
  { signal, spill, where, ...means }: Means,
): AsyncGenerator<ProgressEvent | WarningEvent, RunPlan> {
  const limits = memoryLimits(config, where, means.limitBytes);
  const { model, offline, baseBits, templateArgs, templateDate } = config;
  const access = { offline, baseBits, templateArgs, templateDate, signal };
  const base = yield* withProgress((onProgress) => openBase(model, { ...access, onProgress }));
  signal.throwIfAborted();
  const plan = yield* withProgress((onProgress) =>
    planRun(config, base, dataset, { spill, onProgress, signal, ...limits }),
  );
  const notices = plan.model.methods.flatMap((m) => m.notices);
  for (const message of [...base.warnings, ...where.notes, ...dataWarnings(plan), ...notices])
    yield { type: "warning", message };
  return plan;
}

/** What a run may take: of the device's memory, where it has its own and the user tells how much. */
function memoryLimits(
  { deviceMemory }: TrainConfig,
  { device }: ChosenDevice,
  limitBytes = Number.POSITIVE_INFINITY,
): MemoryLimits {
  if (deviceMemory === null || usesHostMemory(device)) return { limitBytes };
  const freeBytes = deviceMemory * 2 ** 30;
  return { limitBytes: Math.min(limitBytes, freeBytes), freeBytes };
}

function dataWarnings({ task, base, dataset, train }: RunPlan): string[] {
  const { duplicates } = dataset;
  const hidden = (split: "validation" | "test"): string[] => {
    const count = dataset[split].length - task.objective.labelled(dataset[split], base).length;
    return count === 0
      ? []
      : [`${count} of ${dataset[split].length} ${split} rows have no label (-1) and are left out`];
  };
  const shared = (split: "validation" | "test"): string =>
    `${duplicates[split]} of ${dataset[split].length} ${split} rows are also training rows: the ${split} loss is too good`;
  return [
    ...hidden("validation"),
    ...hidden("test"),
    ...(["validation", "test"] as const).filter((s) => duplicates[s] > 0).map(shared),
    ...[...dataset.notes, ...train.report.notes].map(noteText),
  ];
}

function preview({ task, train, base }: RunPlan, count: number): PreviewEvent {
  const first: readonly Example[] = train.examples.slice(0, count);
  return {
    type: "preview",
    examples: first.flatMap((e) => sequencesOf(e).map((s) => task.preview({ ...s, index: e.index }, base))),
  };
}

async function* inFolder(
  config: TrainConfig,
  dataset: Dataset,
  folder: string,
  means: Means,
): AsyncGenerator<TrainEvent> {
  const { signal } = means;
  const from = typeof config.resume === "string" ? yield* resumable(folder) : null;
  let plan: RunPlan;
  try {
    plan = yield* planning(config, dataset, means);
  } catch (error) {
    if (!isAbort(error, signal)) throw error;
    await saveTrainConfig(folder, config); // what --resume reads
    return yield interruptedEvent(from?.progression.step ?? 0, folder);
  }
  const warning = from && checkIdentity(from.identity, plan.identity, folder);
  if (warning) yield { type: "warning", message: warning };
  yield* running(config, plan, folder, from, means);
}

/** The checkpoint to go on from, or null for a start from the beginning. */
async function* resumable(folder: string): AsyncGenerator<WarningEvent, Checkpoint | null> {
  const { checkpoint, damaged } = await newestCheckpoint(folder);
  for (const message of damaged) yield { type: "warning", message: `checkpoint passed over: ${message}` };
  if (checkpoint === null && damaged.length > 0)
    yield { type: "warning", message: "no checkpoint can be used: the run starts over" };
  return checkpoint;
}

async function* running(
  config: TrainConfig,
  plan: RunPlan,
  folder: string,
  from: Checkpoint | null,
  { signal, where }: Means,
): AsyncGenerator<TrainEvent> {
  const resumeStep = from?.progression.step ?? null;
  const log = await storing(folder, async () => {
    // The chosen level: another may sum gradients in a different order on resume.
    await saveTrainConfig(folder, { ...config, recompute: plan.recompute });
    return openMetricsLog(folder, { resumeStep });
  });
  const runtime = openRuntime({ ...config, device: where.device });
  try {
    const planned = await planEvent(config, plan, runtime, folder);
    yield planned;
    yield preview(plan, PREVIEW_EXAMPLES);
    const run = await startRun({ config, plan, folder, runtime, signal }, from);
    if (from) yield { type: "resumed", step: from.progression.step, path: from.path };
    yield* logged(log, folder, wholeRun(run, planned));
  } finally {
    await log.close();
    await runtime.close();
  }
}

/** Passes events on, and those with measures into the log. */
async function* logged(
  log: MetricsLog,
  folder: string,
  events: AsyncGenerator<TrainEvent>,
): AsyncGenerator<TrainEvent> {
  for await (const event of events) {
    if (event.type === "step" || event.type === "evaluation" || event.type === "samples")
      await storing(join(folder, METRICS_FILE), () => log.append(event));
    yield event;
  }
}
