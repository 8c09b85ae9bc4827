import { basename } from "node:path";
import type { TrainConfig } from "../../train/config/config.ts";
import type { PlanEvent, PreviewEvent } from "../../train/events.ts";
import { HttpError } from "../errors.ts";
import { checkJob } from "./check-data.ts";
import { type JobContext, uncheckedJob } from "./create.ts";
import type { DataFolder } from "./data-folder.ts";
import type { JobPreview, PreviewPlan, PreviewProblem } from "./preview-object.ts";
import { type ProcessEnd, startProcess } from "./process.ts";
import { trainedTokensOf } from "./progress.ts";
import { type JobBody, RESERVED } from "./schema.ts";
import type { KeptEvent } from "./thinned.ts";

/** What a request for a job would do. @throws HttpError for what is wrong with the request itself, as making the job would */
export type PreviewJobs = (body: JobBody, signal: AbortSignal) => Promise<JobPreview>;

/** Previews of a server, one at a time: each opens the model. They are dry runs in a process of their own, as jobs are runs. */
export function jobPreviews(folder: DataFolder, settings: JobContext): PreviewJobs {
  const inTurn = oneAtATime();
  return async (body, signal) => {
    const { config, trainingFile, validationFile } = uncheckedJob(body, folder, settings);
    const head = {
      object: "fine_tuning.job.preview",
      model: settings.baseName,
      training_file: trainingFile,
      validation_file: validationFile,
      lowrank: optionsOf(config),
    } as const;
    const found = await faultsIn(config, settings, signal);
    if (found !== null) return { ...head, ...found, plan: null, examples: [], warnings: [] };
    const seen = await inTurn(() => dryRun(config, folder, settings.limitBytes, signal), signal);
    return { ...head, problems: [], problems_left_out: 0, ...seen };
  };
}

/** Options that a request could have stated. */
function optionsOf(config: TrainConfig): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(config).filter(([key]) => !Object.hasOwn(RESERVED, key)));
}

type Found = Pick<JobPreview, "problems" | "problems_left_out">;

/** What is wrong with the files; null: nothing. @throws what else the check throws */
async function faultsIn(
  config: TrainConfig,
  settings: JobContext,
  signal: AbortSignal,
): Promise<Found | null> {
  try {
    await checkJob(config, settings, signal);
    return null;
  } catch (error) {
    const { faults, param } = error instanceof HttpError ? error.details : {};
    if (faults === undefined) throw error;
    const file = param as PreviewProblem["file"];
    return { problems: faults.first.map((one) => ({ file, ...one })), problems_left_out: faults.leftOut };
  }
}

/** From the order to stop to the end by force: nothing is lost. */
const KILL_AFTER_MS = 2000;

async function dryRun(
  config: TrainConfig,
  folder: DataFolder,
  limitBytes: number,
  signal: AbortSignal,
): Promise<Pick<JobPreview, "plan" | "examples" | "warnings">> {
  const seen: KeptEvent[] = [];
  const process = startProcess({
    config: { ...config, dryRun: true },
    isResumed: false,
    killAfterMs: KILL_AFTER_MS,
    limitBytes,
    onStart: () => undefined,
    onEvent: (event) => seen.push(event),
  });
  signal.addEventListener("abort", process.stop);
  const end = await process.ended;
  signal.removeEventListener("abort", process.stop);
  signal.throwIfAborted();
  const plan = seen.find((event) => event.type === "plan");
  if (plan === undefined) throw failure(end, folder);
  return {
    plan: planOf(plan),
    examples: seen.filter((event) => event.type === "preview").flatMap(examplesOf),
    warnings: seen.filter((event) => event.type === "warning").map(({ message }) => message),
  };
}

/** Where files lie on the server is nobody's business. */
function failure(end: ProcessEnd, folder: DataFolder): HttpError {
  const { code, message } =
    end.type === "failed" ? end : { code: "no_plan", message: "the dry run ended early" };
  const isOurs = code === "training_crashed" || code === "no_plan";
  if (isOurs)
    return new HttpError(500, code, "the plan could not be made; the server's log says why", {
      type: "server_error",
      cause: message,
    });
  const text = message.replaceAll(folder.filesPath, "").replaceAll(folder.path, basename(folder.path));
  return new HttpError(400, code === "input" ? "invalid_value" : code, text);
}

function planOf(plan: PlanEvent): PreviewPlan {
  const { tokensPerEpoch, resources } = plan;
  return {
    method: plan.method,
    trained: plan.trained,
    trainable_parameters: plan.trainableParameters,
    total_parameters: plan.totalParameters,
    examples: plan.examples,
    validation_examples: plan.validationExamples,
    truncated: plan.truncated,
    dropped: plan.dropped,
    padded_tokens_per_epoch: tokensPerEpoch.padded,
    packed_tokens_per_epoch: tokensPerEpoch.trie,
    trained_tokens: trainedTokensOf(plan),
    steps: plan.steps,
    steps_per_epoch: plan.stepsPerEpoch,
    estimated_seconds: plan.estimatedSeconds,
    memory_bytes: resources.memoryBytes,
    adapter_bytes: resources.adapterBytes,
  };
}

function examplesOf({ examples }: PreviewEvent): JobPreview["examples"] {
  return examples.map((spans) =>
    spans.map(({ text, isLabel, cuts = [] }) => ({ text, is_label: isLabel, cuts })),
  );
}

/** Work that waits for the work before it. */
function oneAtATime(): <T>(work: () => Promise<T>, signal: AbortSignal) => Promise<T> {
  let before: Promise<unknown> = Promise.resolve();
  return (work, signal) => {
    const mine = before.then(() => {
      signal.throwIfAborted();
      return work();
    });
    before = mine.catch(() => undefined);
    return mine;
  };
}
