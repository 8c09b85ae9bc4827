import { readdir, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type Example, sequencesOf } from "../data/batch.ts";
import type { Dataset } from "../data/read-dataset.ts";
import { openSpill, type Spill } from "../data/spill.ts";
import { cacheFolder } from "../io/cache-folder.ts";
import { storing } from "../io/disk.ts";
import { openBase } from "../models/base-model.ts";
import { ALONE, firstThenOthers, fromFirst, type ProcessGroup } from "../parallel/group.ts";
import { type JointWork, jointWork } from "../parallel/joint.ts";
import { threadsOf } from "../parallel/threads.ts";
import { type ChosenDevice, chooseDevice } from "../runtime/check/choose.ts";
import { deviceSpec } from "../runtime/device.ts";
import { openRuntime, type Runtime } from "../runtime/runtime.ts";
import { type Checkpoint, newestCheckpoint } from "./checkpoint.ts";
import type { TrainConfig, TrainOptions } from "./config/config.ts";
import { completeTrainConfig, saveTrainConfig } from "./config/file.ts";
import type { PreviewEvent, ProgressEvent, TrainEvent, WarningEvent } from "./events.ts";
import { folderStore, interruptedEvent } from "./folder-store.ts";
import { checkAlike, checkIdentity, checkSameDevice } from "./identity.ts";
import { lockRunFolder } from "./lock.ts";
import { isAbort, wholeRun } from "./loop.ts";
import { memoryLimits, unusedMemoryNote } from "./machine.ts";
import { METRICS_FILE, type MetricsLog, openMetricsLog } from "./metrics-log.ts";
import { planEvent, planRun, type RunPlan } from "./plan.ts";
import { planWarnings } from "./plan-warnings.ts";
import { withProgress } from "./progress.ts";
import { readData } from "./read-data.ts";
import { startRun } from "./run.ts";
import { prepareRunFolder } from "./run-folder.ts";
import { sharedStore } from "./shared-store.ts";

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
  /** Processes that train this adapter together (`openProcessGroup`); each calls `train` with a group of its own. The examples of an update are
   *  shared out among them, losses and adapter are those of one process; options are those of member 0, which alone writes. A
   *  member that fails leaves the others waiting: it must `abort` the group. */
  readonly group?: ProcessGroup;
}

/** Options with the day that the chat template takes for today: a run that goes on later keeps its first one. */
function dated(config: TrainConfig): TrainConfig {
  return { ...config, templateDate: config.templateDate ?? new Date().toISOString() };
}

/** What the parts of a run are given. */
interface Means {
  readonly joint: JointWork;
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
  { signal, memoryBytes, limitBytes, group = ALONE }: TrainRunOptions = {},
): AsyncGenerator<TrainEvent> {
  const config = await group.broadcast(dated(options));
  const own = new AbortController();
  const forward = (): void => own.abort(signal?.reason);
  signal?.addEventListener("abort", forward);
  if (signal?.aborted) forward();
  const spill = openSpill(cacheFolder(), memoryBytes);
  const joint = jointWork(group, own.signal);
  try {
    const means = { joint, spill, limitBytes, where: await deviceFor(config, group) };
    yield* config.dryRun ? dryRun(config, means) : withFolder(config, means);
  } catch (error) {
    if (!isAbort(error, joint.signal)) throw error;
    yield interruptedEvent(0, typeof config.resume === "string" ? config.resume : null);
  } finally {
    signal?.removeEventListener("abort", forward);
    own.abort(); // what is still under way when the caller stops listening
    spill.close();
  }
}

/** Where all members compute. They check it one after the other, so that those of one machine find the first one's verdict. */
async function deviceFor(config: TrainConfig, group: ProcessGroup): Promise<ChosenDevice> {
  const where = await firstThenOthers(group, () => chooseDevice(config.device));
  checkSameDevice(await group.gather(where.device));
  return where;
}

/** Members on one machine share its cores. */
function runtimeFor(config: TrainConfig, { where: { device }, joint }: Means): Runtime {
  const threads = config.threads ?? (deviceSpec(device).features.threads ? threadsOf(joint.group) : null);
  return openRuntime({ ...config, device, threads });
}

async function* dryRun(config: TrainConfig, means: Means): AsyncGenerator<TrainEvent> {
  const dataset = yield* reading(config, means);
  const plan = yield* planning(config, dataset, means);
  const runtime = runtimeFor(config, means);
  try {
    yield await planEvent(config, plan, runtime, config.output ?? "", means.joint.group.size);
    yield preview(plan, DRY_RUN_EXAMPLES);
  } finally {
    await runtime.close();
  }
}

/** Data come first: where they are wrong, no folder is made and nothing is fetched. */
async function* withFolder(config: TrainConfig, means: Means): AsyncGenerator<TrainEvent> {
  const dataset = yield* reading(config, means);
  const { group } = means.joint;
  const folder = await fromFirst(group, () =>
    storing(config.output ?? "runs", () => prepareRunFolder(config)),
  );
  if (group.rank > 0) return yield* inFolder(config, dataset, folder, means);
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
  { joint, spill }: Means,
): AsyncGenerator<ProgressEvent, Dataset> {
  await joint.check();
  const { signal } = joint;
  const { offline } = config;
  const dataset = yield* withProgress((onProgress) =>
    readData(config, config, { offline, spill, onProgress, signal }),
  );
  await joint.check();
  return dataset;
}

async function* planning(
  config: TrainConfig,
  dataset: Dataset,
  { joint, spill, where, limitBytes }: Means,
): AsyncGenerator<ProgressEvent | WarningEvent, RunPlan> {
  const { signal, group } = joint;
  const limits = memoryLimits(config, where.device, { limitBytes, members: group.localSize });
  const { model, offline, baseBits, templateArgs, templateDate } = config;
  const access = { offline, baseBits, templateArgs, templateDate, signal };
  // One member fetches the model, others find it in the cache.
  const base = yield* withProgress((onProgress) =>
    firstThenOthers(group, () => openBase(model, { ...access, onProgress })),
  );
  await joint.check();
  const plan = yield* withProgress((onProgress) =>
    planRun(config, base, dataset, { spill, onProgress, signal, ...limits }),
  );
  checkAlike(await group.gather(plan.identity));
  await joint.check();
  const notes = [...where.notes, ...unusedMemoryNote(config, where.device)];
  for (const message of planWarnings(plan, notes)) yield { type: "warning", message };
  return plan;
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
  const { signal, group } = means.joint;
  const isFirst = group.rank === 0;
  const own = typeof config.resume === "string" && isFirst ? yield* resumable(folder) : null;
  const from = await group.broadcast(own);
  let plan: RunPlan;
  try {
    plan = yield* planning(config, dataset, means);
  } catch (error) {
    if (!isAbort(error, signal)) throw error;
    if (isFirst) await saveTrainConfig(folder, config); // what --resume reads
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
  means: Means,
): AsyncGenerator<TrainEvent> {
  const { joint } = means;
  const resumeStep = from?.progression.step ?? null;
  const openLog = (): Promise<MetricsLog> =>
    storing(folder, async () => {
      // The chosen level: another may sum gradients in a different order on resume.
      await saveTrainConfig(folder, { ...config, recompute: plan.recompute });
      return openMetricsLog(folder, { resumeStep });
    });
  const log = joint.group.rank === 0 ? await openLog() : null;
  const runtime = runtimeFor(config, means);
  try {
    const planned = await planEvent(config, plan, runtime, folder, joint.group.size);
    yield planned;
    yield preview(plan, PREVIEW_EXAMPLES);
    const store = sharedStore(folderStore(folder), joint.group);
    const run = await startRun({ config, plan, store, runtime, joint }, from);
    if (from) yield { type: "resumed", step: from.progression.step, path: from.path };
    const events = wholeRun(run, planned);
    yield* log === null ? events : logged(log, folder, events);
  } finally {
    await log?.close();
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
