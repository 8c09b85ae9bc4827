import { sequencesOf } from "../data/batch.ts";
import type { Dataset } from "../data/read-dataset.ts";
import { InputError, type Problem } from "../errors.ts";
import type { Storage } from "../io/storage/storage.ts";
import { nextTurn } from "../io/turn.ts";
import type { BaseModel } from "../models/base.ts";
import { ALONE } from "../parallel/group.ts";
import { jointWork } from "../parallel/joint.ts";
import type { Runtime } from "../runtime/create-runtime.ts";
import { type TrainConfig, type TrainOptions, trainConfig } from "../train/config/config.ts";
import type { TrainEvent } from "../train/events.ts";
import { isAbort, wholeRun } from "../train/loop.ts";
import { type MachineMemory, planEvent, planRun, type RunPlan } from "../train/plan.ts";
import { planWarnings } from "../train/plan-warnings.ts";
import { type Run, startRun } from "../train/run.ts";
import type { PreviewSpan } from "../train/sample.ts";
import { type PageData, readPageData } from "./data.ts";
import { pageRunStore } from "./run-store.ts";

/** Options of a run that are not a page's: what they say is given otherwise, or is only on a disk. */
const ELSEWHERE: readonly SaidElsewhere[] = [
  ...(["model", "baseBits", "templateArgs", "device", "threads"] as const), // of `openModel`
  ...(["data", "validationData", "testData"] as const), // storages
  ...(["offline", "output", "resume", "profile", "dryRun", "prepack", "deviceMemory"] as const),
];

/** Names of options that are not a page's. */
export type SaidElsewhere =
  | ("model" | "baseBits" | "templateArgs" | "device" | "threads")
  | ("data" | "validationData" | "testData")
  | ("offline" | "output" | "resume" | "profile" | "dryRun" | "prepack" | "deviceMemory");

/** How to train in a page: the options of `train` in Node, but for those that are said elsewhere or need a disk. */
export type PageTrainOptions = Omit<TrainOptions, SaidElsewhere> & {
  /** Aborting finishes the step and ends with a `stopped` event. */
  readonly signal?: AbortSignal | undefined;
};

/** WebAssembly addresses so much, for everything. */
const MEMORY: MachineMemory = { totalBytes: 2 ** 32, freeBytes: 2 ** 32 };

interface Parts {
  readonly base: BaseModel;
  readonly runtime: Runtime;
}

/** @throws InputError for options that have no place here, or do not hold */
function configOf(base: BaseModel, { signal: _, ...options }: PageTrainOptions): TrainConfig {
  const problems: Problem[] = ELSEWHERE.filter((key) => key in options).map((key) => ({
    where: key,
    message: "is no option of training in a page",
  }));
  if (problems.length > 0) throw new InputError("the training options do not hold:", problems);
  const { name } = base.source;
  const held: TrainOptions = { ...options, model: name, data: ["data"], baseBits: base.bits };
  return { ...trainConfig(held), templateArgs: base.templateVariables.args };
}

async function planOf(
  base: BaseModel,
  data: PageData,
  config: TrainConfig,
  signal: AbortSignal | undefined,
): Promise<{ readonly plan: RunPlan; readonly dataset: Dataset }> {
  const dataset = await readPageData(data, { ...config, signal });
  return { dataset, plan: await planRun(config, base, dataset, { memory: MEMORY, signal }) };
}

/** A run from its data to its adapter. */
export async function* trainInPage(
  { base, runtime }: Parts,
  data: PageData,
  options: PageTrainOptions,
  output: Storage,
): AsyncGenerator<TrainEvent> {
  const config = configOf(base, options);
  const joint = jointWork(ALONE, options.signal);
  const planned = await planOf(base, data, config, options.signal).catch((error: unknown) => {
    if (!isAbort(error, joint.signal)) throw error;
    return null;
  });
  if (planned === null) return yield { type: "stopped", reason: "interrupt", step: 0, resumeHint: null };
  yield* runPlanned(planned, config, { runtime, joint, output });
}

async function* runPlanned(
  { plan, dataset }: Awaited<ReturnType<typeof planOf>>,
  config: TrainConfig,
  { runtime, joint, output }: Pick<Run, "runtime" | "joint"> & { readonly output: Storage },
): AsyncGenerator<TrainEvent> {
  for (const message of planWarnings(plan)) yield { type: "warning", message };
  const planned = await planEvent({ ...config, data: [dataset.name] }, plan, runtime, output.path);
  yield planned;
  const store = pageRunStore(output);
  const run = await startRun({ config, plan, store, runtime, joint }, null);
  for await (const event of wholeRun(run, planned)) {
    if (event.type === "samples") store.note(event);
    yield event;
    await nextTurn(); // messages of the page come in: steps alone would leave them no turn
  }
}

/** The first rows as the model reads them. */
export async function previewRows(
  base: BaseModel,
  data: PageData,
  options: PageTrainOptions,
  count: number,
): Promise<PreviewSpan[][]> {
  const config = configOf(base, options);
  const { plan } = await planOf(base, data, config, options.signal);
  const examples = plan.train.examples.slice(0, count);
  const sequences = examples.flatMap((e) => sequencesOf(e).map((s) => ({ ...s, index: e.index })));
  return sequences.slice(0, count).map((one) => [...plan.task.preview(one, plan.base)]);
}
