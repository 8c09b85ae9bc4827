import type { Example } from "../data/batch.ts";
import { formatWhere } from "../data/place.ts";
import { TrainingError } from "../errors.ts";
import { learningRateAt } from "../optim/schedule.ts";
import { deviceFailure } from "./device-failure.ts";
import type {
  EvaluationEvent,
  PlanEvent,
  ReadyEvent,
  SamplesEvent,
  StepEvent,
  TrainEvent,
} from "./events.ts";
import type { RunPlan } from "./plan.ts";
import {
  checkMovement,
  checkpoint,
  evaluateSplit,
  noteEvaluation,
  type Run,
  restoreBest,
  settleProfile,
  takeSamples,
  whatIsKept,
} from "./run.ts";
import type { UpdateResult } from "./step.ts";
import { stepsPerEpoch } from "./windows.ts";

/** Steps that the estimate of the remaining time looks back on. */
const RECENT_STEPS = 20;
/** Examples that an error about a step names. */
const MAX_NAMED = 64;
/** Checkpoints of a run where `checkpointEvery` is not given. */
const CHECKPOINTS_PER_RUN = 5;

/** An error by which work that was given a signal says that it was aborted. */
export function isAbort(error: unknown, signal: AbortSignal): boolean {
  if (!signal.aborted) return false;
  const isOwn = error instanceof Error && (error.name === "AbortError" || error.cause === signal.reason);
  return error === signal.reason || isOwn;
}

/** A run from where it is to its end: evaluation, steps, evaluation, adapter. An abort writes a checkpoint first. */
export async function* wholeRun(run: Run, planned: PlanEvent): AsyncGenerator<TrainEvent> {
  try {
    if (run.progression.step === 0) yield* before(run);
    if (run.progression.step < run.plan.steps) yield await prepare(run);
    yield* steps(run);
    const profiled = await settleProfile(run, true);
    if (profiled) yield profiled;
    yield* after(run, planned);
  } catch (error) {
    if (!isAbort(error, run.joint.signal)) throw error;
    yield* interrupted(run);
  }
}

async function* before(run: Run): AsyncGenerator<TrainEvent> {
  const lossBefore = yield* evaluations(run, 0);
  run.progression = { ...run.progression, lossBefore };
  const samples = await takeSamples(run, "before", 0);
  if (samples) yield samples;
}

/** Loads what steps need, so that the first takes as long as the next. */
async function prepare({ engine }: Run): Promise<ReadyEvent> {
  const started = performance.now();
  await engine.prepare();
  return { type: "ready", elapsedMs: performance.now() - started };
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
    await run.joint.check();
    yield await takeStep(run);
    const profiled = await settleProfile(run, false);
    if (profiled) yield profiled;
    const warning = run.progression.step === firstMoving ? await checkMovement(run) : null;
    if (warning) yield warning;
  }
}

/** One optimizer update. @throws TrainingError if loss or gradient is not a number; the parameters are unchanged then */
async function takeStep(run: Run): Promise<StepEvent> {
  const { plan, engine } = run;
  const step = run.progression.step + 1;
  const window = run.windowAt(step).map((batch) => examplesOf(plan, batch));
  const learningRate = learningRateAt(step - 1, plan.schedule);
  const started = performance.now();
  const result = await engine.update(window, step, learningRate).catch((error: unknown) => {
    throw deviceFailure(run, step, error);
  });
  if (!result.isFinite) throw notFinite(run, step, window.flat(), result);
  const elapsedMs = performance.now() - started;
  run.progression = { ...run.progression, step, elapsedMs: run.progression.elapsedMs + elapsedMs };
  run.recentMs = [...run.recentMs, elapsedMs].slice(-RECENT_STEPS);
  const { loss, gradNorm, labelTokens, trieTokens } = result;
  const recent = run.recentMs.reduce((a, b) => a + b, 0) / run.recentMs.length;
  const examples = window.reduce((n, batch) => n + batch.length, 0);
  return {
    type: "step",
    step,
    steps: plan.steps,
    epoch: step / stepsPerEpoch(plan.windows),
    loss,
    learningRate,
    gradNorm,
    labelTokens,
    trieTokens,
    examples,
    elapsedMs,
    tokensPerSecond: (trieTokens * 1000) / elapsedMs,
    examplesPerSecond: (examples * 1000) / elapsedMs,
    etaMs: recent * (plan.steps - step),
  };
}

function examplesOf({ train }: RunPlan, batch: Int32Array): Example[] {
  return Array.from(batch, (i) => train.examples.at(i) as Example);
}

function notFinite(
  run: Run,
  step: number,
  examples: readonly Example[],
  { loss, gradNorm }: Pick<UpdateResult, "loss" | "gradNorm">,
): TrainingError {
  const { dataset, train } = run.plan;
  const places = examples.slice(0, MAX_NAMED).map((e) => {
    const row = dataset.train.at(train.rowOf.at(e.index) as number);
    return `  ${row ? formatWhere(row.where) : `example ${e.index}`}`;
  });
  const more = examples.length > MAX_NAMED ? [`  … and ${examples.length - MAX_NAMED} more`] : [];
  const what = Number.isFinite(loss) && Number.isFinite(gradNorm) ? "the update is not finite: " : "";
  return new TrainingError(
    `step ${step}: ${what}the loss is ${loss} and the gradient norm ${gradNorm}; stopped, ${whatIsKept(run)}. ` +
      `A lower learning rate usually helps. Examples in this step:\n${[...places, ...more].join("\n")}`,
  );
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
  if (isBest || (isCheckpointDue && run.savedStep !== step)) yield* checkpoint(run);
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
  if (run.savedStep !== run.progression.step) yield* checkpoint(run);
  const kept = await restoreBest(run);
  if (kept.warning !== null) yield { type: "warning", message: kept.warning };
  await run.engine.rest(); // no update follows
  const lossAfter = yield* evaluations(run, kept.step);
  const samples = await takeSamples(run, "after", kept.step);
  if (samples) yield samples;
  const { step, elapsedMs, lossBefore } = run.progression;
  const bestStep = kept.warning === null ? run.progression.bestStep : null;
  const { config, plan, savedStep, store } = run;
  const outcome = { steps: step, elapsedMs, bestStep, lossBefore, lossAfter };
  yield await store.finish({ config, plan, planned, theta: kept.theta, savedStep, outcome });
}

async function* interrupted(run: Run): AsyncGenerator<TrainEvent> {
  const profiled = await settleProfile(run, true);
  if (profiled) yield profiled;
  const { step } = run.progression;
  if (step > 0 && run.savedStep !== step) yield* checkpoint(run);
  yield { type: "stopped", reason: "interrupt", step, resumeHint: run.store.resumeHint };
}
