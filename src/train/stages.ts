import { storing } from "../io/disk.ts";
import { learningRateAt } from "../optim/schedule.ts";
import { writeRunCard } from "./card.ts";
import { checkpointPath } from "./checkpoint.ts";
import type {
  DoneEvent,
  EvaluationEvent,
  PlanEvent,
  SamplesEvent,
  StoppedEvent,
  TrainEvent,
} from "./events.ts";
import type { RunPlan } from "./plan.ts";
import { writeReport } from "./report/report.ts";
import { measuredResources } from "./resources.ts";
import {
  adapterFolder,
  checkMovement,
  checkpoint,
  evaluateSplit,
  exportAdapter,
  noteEvaluation,
  type Run,
  restoreBest,
  resumeCommand,
  settleProfile,
  takeSamples,
  takeStep,
} from "./run.ts";
import { saveSummary } from "./summary.ts";

/** Checkpoints of a run where `checkpointEvery` is not given. */
const CHECKPOINTS_PER_RUN = 5;

/** An error by which work that was given a signal says that it was aborted. */
export function isAbort(error: unknown, signal: AbortSignal): boolean {
  if (!signal.aborted) return false;
  const isOwn = error instanceof Error && (error.name === "AbortError" || error.cause === signal.reason);
  return error === signal.reason || isOwn;
}

/** A run that was interrupted, and how to go on with it; null where nothing was begun. */
export function interruptedEvent(step: number, folder: string | null): StoppedEvent {
  const resumeHint = folder === null ? null : resumeCommand(folder);
  return { type: "stopped", reason: "interrupt", step, resumeHint };
}

/** A run from where it is to its end: evaluation, steps, evaluation, adapter. An abort writes a checkpoint first. */
export async function* wholeRun(run: Run, planned: PlanEvent): AsyncGenerator<TrainEvent> {
  try {
    if (run.progression.step === 0) yield* before(run);
    yield* steps(run);
    const profiled = await settleProfile(run, true);
    if (profiled) yield profiled;
    yield* after(run, planned);
  } catch (error) {
    if (!isAbort(error, run.signal)) throw error;
    yield* interrupted(run);
  }
}

async function* before(run: Run): AsyncGenerator<TrainEvent> {
  const lossBefore = yield* evaluations(run, 0);
  run.progression = { ...run.progression, lossBefore };
  const samples = await takeSamples(run, "before", 0);
  if (samples) yield samples;
}

/** Every held-out split, with the parameters of `step`. Returns the loss that the run is judged by: the test's, else the
 *  validation's. */
async function* evaluations(run: Run, step: number): AsyncGenerator<EvaluationEvent, number | null> {
  let loss: number | null = null;
  for (const split of ["validation", "test"] as const) {
    const encoded = run.plan[split];
    if (!encoded) continue;
    const event = await evaluateSplit(run, split, encoded, step);
    loss = event.loss;
    yield event;
  }
  return loss;
}

/** Each round does what is due at a step (a resumed run may have been interrupted before it), then takes the next. */
async function* steps(run: Run): AsyncGenerator<TrainEvent> {
  const { config, plan } = run;
  const firstMoving = firstStepWithRate(plan);
  for (;;) {
    yield* settle(run);
    const { step, staleEvaluations } = run.progression;
    if (step >= plan.steps) return;
    if (config.earlyStopping !== null && staleEvaluations >= config.earlyStopping) {
      yield { type: "stopped", reason: "early-stopping", step, resumeHint: null };
      return;
    }
    run.signal.throwIfAborted();
    yield await takeStep(run);
    const profiled = await settleProfile(run, false);
    if (profiled) yield profiled;
    const warning = run.progression.step === firstMoving ? await checkMovement(run) : null;
    if (warning) yield warning;
  }
}

function firstStepWithRate({ schedule, steps: count }: RunPlan): number {
  for (let step = 1; step <= count; step++) if (learningRateAt(step - 1, schedule) > 0) return step;
  return -1;
}

/** The evaluation, the samples and the checkpoint that are due at this step and not done. */
async function* settle(run: Run): AsyncGenerator<TrainEvent> {
  const { config, plan } = run;
  const { step, evaluatedStep } = run.progression;
  if (step === 0) return;
  const isEvaluationDue =
    config.evalEvery !== null && step % config.evalEvery === 0 && evaluatedStep !== step;
  const isBest = isEvaluationDue ? yield* midway(run) : false;
  yield* midwaySamples(run);
  const checkpointEvery = config.checkpointEvery ?? Math.ceil(plan.steps / CHECKPOINTS_PER_RUN);
  const isCheckpointDue = step % checkpointEvery === 0 || step === plan.steps;
  if (isBest || (isCheckpointDue && run.savedStep !== step)) yield await checkpoint(run);
}

/** An evaluation between steps; whether it is the best so far. */
async function* midway(run: Run): AsyncGenerator<EvaluationEvent, boolean> {
  const split = run.plan.validation ? "validation" : "test";
  const encoded = run.plan[split];
  if (!encoded) return false;
  // Loading the graph again takes a second or more, each time: for those who save memory.
  if (run.plan.recompute !== "none") await run.engine.rest();
  const event = await evaluateSplit(run, split, encoded, run.progression.step);
  noteEvaluation(run, event);
  yield event;
  return event.isBest;
}

/** The samples that are due at this step; those at the end come later. */
async function* midwaySamples(run: Run): AsyncGenerator<SamplesEvent> {
  const { samplesEvery } = run.config;
  const { step } = run.progression;
  const isDue = samplesEvery !== null && step % samplesEvery === 0 && step < run.plan.steps;
  if (!isDue || run.sampledStep === step) return;
  run.sampledStep = step;
  if (run.plan.recompute !== "none") await run.engine.rest(); // as for an evaluation
  const samples = await takeSamples(run, "during", step);
  if (samples) yield samples;
}

async function* after(run: Run, planned: PlanEvent): AsyncGenerator<TrainEvent> {
  if (run.savedStep !== run.progression.step) yield await checkpoint(run);
  const kept = await restoreBest(run);
  if (kept.warning !== null) yield { type: "warning", message: kept.warning };
  await run.engine.rest(); // no update follows
  const lossAfter = yield* evaluations(run, kept.step);
  const samples = await takeSamples(run, "after", kept.step);
  if (samples) yield samples;
  const adapterPath = adapterFolder(run.folder);
  await exportAdapter(run, kept.theta, adapterPath);
  const { step, elapsedMs, lossBefore } = run.progression;
  const bestStep = kept.warning === null ? run.progression.bestStep : null;
  const { folder, config, plan } = run;
  await writeRunCard(adapterPath, {
    config,
    plan,
    planned,
    outcome: { steps: step, bestStep, lossBefore, lossAfter },
  });
  const measured = await measuredResources(adapterPath, checkpointPath(folder, run.savedStep));
  const outcome = { steps: step, elapsedMs, adapterPath, bestStep, lossBefore, lossAfter, measured };
  const reportPath = await storing(folder, () => writeReport(folder, { config, plan: planned, outcome }));
  const done: DoneEvent = { type: "done", ...outcome, reportPath };
  await storing(folder, () => saveSummary(folder, { plan: planned, done }));
  yield done;
}

async function* interrupted(run: Run): AsyncGenerator<TrainEvent> {
  const profiled = await settleProfile(run, true);
  if (profiled) yield profiled;
  const { step } = run.progression;
  if (step > 0 && run.savedStep !== step) yield await checkpoint(run);
  yield interruptedEvent(step, run.folder);
}
