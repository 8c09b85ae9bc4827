import { LowrankError, TrainingError } from "../errors.ts";
import { createOptimizer } from "../optim/table.ts";
import { fromFirst } from "../parallel/group.ts";
import type { JointWork } from "../parallel/joint.ts";
import { baseActivations } from "../peft/base-activations.ts";
import { initialParameters, unflatten } from "../peft/parameters.ts";
import { trainablesOf } from "../peft/use/adapted-model.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { agreeOnState } from "./agreement.ts";
import { scoreAnswers } from "./answers.ts";
import { chunkCount, maxBatchLabels } from "./batch.ts";
import type { CheckpointContent, Progression } from "./checkpoint.ts";
import type { TrainConfig } from "./config/config.ts";
import type { EncodedSplit } from "./data.ts";
import { createEvaluationEngine, EVALUATION_BATCH } from "./evaluation.ts";
import type { CheckpointEvent, EvaluationEvent, ProfileEvent, SamplesEvent, WarningEvent } from "./events.ts";
import type { RunPlan } from "./plan.ts";
import type { Profiling } from "./profile/take.ts";
import type { RunStore } from "./run-store.ts";
import { createTrainEngine, type TrainEngine, type TrainState } from "./step.ts";
import { windowReader } from "./windows.ts";

/** A training run in progress: its parts, and where it is. */
export interface Run {
  readonly config: TrainConfig;
  readonly plan: RunPlan;
  /** Where it leaves what it makes. */
  readonly store: RunStore;
  readonly runtime: Runtime;
  readonly engine: TrainEngine;
  /** Who trains together, and stops together. Member 0 alone writes. */
  readonly joint: JointWork;
  /** Example indices of each micro-batch of a step. */
  readonly windowAt: (step: number) => Int32Array[];
  progression: Progression;
  /** Step of the newest checkpoint; −1 for none. */
  savedStep: number;
  /** Step of the newest samples that were taken here; −1 for none. */
  sampledStep: number;
  recentMs: number[];
  /** null where none is wanted, or it is done. */
  profiling: Profiling | null;
}

/** Loads the graphs and the state to start from: fresh parameters, or a checkpoint's. */
export async function startRun(
  parts: Pick<Run, "config" | "plan" | "store" | "runtime" | "joint">,
  from: Pick<CheckpointContent, "progression" | "state"> | null,
): Promise<Run> {
  const { config, plan, runtime } = parts;
  const folder = plan.base.weights.folder;
  const { group } = parts.joint;
  const profiling = config.profile && group.rank === 0 ? parts.store.startProfiling() : null;
  const engine = await createTrainEngine(runtime, plan.subject, folder, {
    ...config,
    steps: plan.steps,
    recompute: plan.recompute,
    profile: profiling?.prefix ?? null,
    group,
  });
  await engine.setState(from?.state ?? (await fromFirst(group, () => freshState(config, plan, runtime))));
  const progression = from?.progression ?? START;
  const savedStep = from ? progression.step : -1;
  const windowAt = windowReader(plan.windows, config.groupByPrefix ? plan.train.examples : null);
  return {
    ...parts,
    engine,
    windowAt,
    progression,
    savedStep,
    sampledStep: -1,
    recentMs: [],
    profiling,
  };
}

const START: Progression = {
  step: 0,
  bestStep: null,
  bestLoss: null,
  staleEvaluations: 0,
  evaluatedStep: null,
  lossBefore: null,
  elapsedMs: 0,
};

async function freshState(config: TrainConfig, plan: RunPlan, runtime: Runtime): Promise<TrainState> {
  const theta = await initialParameters(
    trainablesOf(plan.model.methods),
    config.seed,
    (path) => plan.base.weights.read(path),
    baseActivations(runtime, plan.base),
  );
  const { vectors } = createOptimizer(config);
  return { theta, ...Object.fromEntries(vectors.map((name) => [name, new Float32Array(theta.length)])) };
}

/** What a run that ends here leaves, in words. */
export function whatIsKept({ savedStep }: Pick<Run, "savedStep">): string {
  return savedStep >= 0 ? `the checkpoint of step ${savedStep} is kept` : "no checkpoint was written yet";
}

/** Ends the profile once it has enough steps, or at the end of the run. */
export async function settleProfile(run: Run, isEnd: boolean): Promise<ProfileEvent | null> {
  const { profiling } = run;
  if (profiling === null) return null;
  const isEnough = isEnd || profiling.noteStep(run.windowAt(run.progression.step).length);
  if (!isEnough) return null;
  run.profiling = null;
  return profiling.finish(run.engine);
}

/** Checks that the first update with a learning rate changed the factors that start at zero.
 *  @throws TrainingError if none of them moved */
export async function checkMovement(run: Run): Promise<WarningEvent | null> {
  const { methods } = run.plan.model;
  const zeros = methods.flatMap((m) => [...m.startsAtZero]);
  if (zeros.length === 0) return null;
  const values = unflatten(await run.engine.theta(), trainablesOf(methods));
  const still = zeros
    .filter(([name]) => values.get(name)?.data.every((x) => x === 0))
    .map(([, label]) => label);
  if (still.length === zeros.length)
    throw new TrainingError("after the first update no adapter has moved: no gradient reaches it");
  if (still.length === 0) return null;
  const shown = still.slice(0, 5).join(", ") + (still.length > 5 ? `, … (${still.length} in all)` : "");
  return { type: "warning", message: `after the first update these adapters have not moved: ${shown}` };
}

/** Scores a split with the parameters as they are, which are those of `step`. */
export async function evaluateSplit(
  run: Run,
  split: "validation" | "test",
  encoded: NonNullable<EncodedSplit>,
  step: number,
): Promise<EvaluationEvent> {
  const { plan, runtime, joint } = run;
  const started = performance.now();
  const chunks = chunkCount(maxBatchLabels(encoded, EVALUATION_BATCH));
  const engine = await createEvaluationEngine(runtime, { ...plan.subject, chunks }, plan.base.weights.folder);
  try {
    const result = await engine.evaluate(encoded.examples, { joint });
    const { bestLoss } = run.progression;
    return {
      type: "evaluation",
      step,
      split,
      ...result,
      elapsedMs: performance.now() - started,
      isBest: split === "validation" && (bestLoss === null || result.loss < bestLoss),
    };
  } finally {
    await engine.close();
  }
}

/** Takes an evaluation between steps into account. Only the validation split chooses a best checkpoint. */
export function noteEvaluation(run: Run, event: EvaluationEvent): void {
  const progression = { ...run.progression, evaluatedStep: event.step };
  if (event.split !== "validation") run.progression = progression;
  else if (event.isBest)
    run.progression = { ...progression, bestStep: event.step, bestLoss: event.loss, staleEvaluations: 0 };
  else run.progression = { ...progression, staleEvaluations: progression.staleEvaluations + 1 };
}

/** Answers the run's sample prompts with the parameters as they are, which are those of `step`; before and after also those that are
 *  scored. */
export async function takeSamples(
  run: Run,
  when: SamplesEvent["when"],
  step: number,
): Promise<SamplesEvent | null> {
  const { plan, config, runtime } = run;
  const { signal, group } = run.joint;
  const rows = plan.dataset.test.length > 0 ? plan.dataset.test : plan.dataset.validation;
  const { task, base, model } = plan;
  const request = { runtime, model, base, rows, maxLength: model.positionCount, signal, group };
  const samples = config.samples > 0 ? await task.samples({ ...request, count: config.samples }) : [];
  const scored = when === "during" ? 0 : config.scoreAnswers;
  const exactMatch = scored > 0 ? await scoreAnswers({ ...request, count: scored }) : null;
  if (samples.length === 0 && exactMatch === null) return null;
  return { type: "samples", step, when, samples, ...(exactMatch && { exactMatch }) };
}

/** Writes a checkpoint of where the run is, and removes old ones.
 *  @throws TrainingError if the disk does not take it; the checkpoints before stay */
export async function* checkpoint(run: Run): AsyncGenerator<WarningEvent | CheckpointEvent> {
  const { progression, store, config, plan } = run;
  const warning = await agreeOnState(run.engine, run.joint.group);
  if (warning !== null) yield { type: "warning", message: warning };
  const { identity } = plan;
  const { step, bestStep } = progression;
  const state = await run.engine.state();
  const content = { progression, identity, state };
  const path = await store.saveCheckpoint(content, plan).catch((error) => {
    throw error instanceof LowrankError ? notSaved(run, error) : error;
  });
  run.savedStep = step;
  await store.prune({ step, keep: config.keepCheckpoints, bestStep });
  yield { type: "checkpoint", step, path, isBest: bestStep === step };
}

function notSaved(run: Run, error: LowrankError): TrainingError {
  const message =
    `the checkpoint of step ${run.progression.step} was not written: ${error.message}; stopped, ${whatIsKept(run)}.` +
    (run.store.resumeHint === null ? "" : ` Then go on with: ${run.store.resumeHint}`);
  return new TrainingError(message, { cause: error });
}

/** The parameters that a run ends with. */
export interface KeptParameters {
  readonly theta: Float32Array;
  readonly step: number;
  /** Why they are not the best, where they should be. */
  readonly warning: string | null;
}

/** Puts the best checkpoint's parameters back, if the last are not the best; the last stay if that checkpoint is damaged. */
export async function restoreBest(run: Run): Promise<KeptParameters> {
  const { bestStep, step } = run.progression;
  const last = { theta: await run.engine.theta(), step, warning: null };
  if (bestStep === null || bestStep === step) return last;
  try {
    const state = await run.store.loadState(bestStep);
    await run.engine.setState(state);
    return { theta: state.theta, step: bestStep, warning: null };
  } catch (error) {
    if (!(error instanceof LowrankError)) throw error;
    const warning = `the best checkpoint cannot be used, the adapter is that of the last step: ${error.message}`;
    return { ...last, warning };
  }
}
