import type { EvaluationEvent, PlanEvent, StepEvent } from "../../train/events.ts";
import type { DataFolder } from "./data-folder.ts";
import type { NewEvent } from "./event-store.ts";
import type { Job } from "./job-store.ts";
import { checkpointName } from "./model-names.ts";
import { nowSeconds } from "./paging.ts";
import type { KeptEvent } from "./thinned.ts";

/** Writes down what a job's run says. */
export interface Progress {
  take(event: KeptEvent): void;
  /** Label tokens that a whole run learns from. */
  trainedTokens(): number | null;
}

/** `onCheckpoint`: told when one is on disk and written down. */
export function progressOf(job: Job, { jobs, events }: DataFolder, onCheckpoint: () => void): Progress {
  let plan: PlanEvent | null = null;
  let step: StepEvent | null = null;
  let validation: EvaluationEvent | null = null;
  const say = (event: NewEvent): void => events.add(job.id, event);
  const metricsAt = (at: number): Readonly<Record<string, number>> => ({
    step: at,
    ...(step?.step === at ? { train_loss: step.loss } : {}),
    ...(validation === null ? {} : validationMetrics(validation)),
  });
  return {
    trainedTokens: () => plan && trainedTokensOf(plan),
    take: (event) => {
      if (event.type === "plan") {
        plan = event;
        say(planText(event));
      } else if (event.type === "step") {
        step = event;
        jobs.update(job.id, { estimatedFinish: nowSeconds() + Math.ceil(event.etaMs / 1000) });
        say(stepText(event));
      } else if (event.type === "evaluation") {
        if (event.split === "validation") validation = event;
        say(evaluationText(event));
      } else if (event.type === "checkpoint") {
        const model = checkpointName(job, event.step);
        events.addCheckpoint(job.id, {
          step: event.step,
          model,
          metrics: JSON.stringify(metricsAt(event.step)),
        });
        say({ message: `Checkpoint created at step ${event.step}`, data: { step: event.step, model } });
        onCheckpoint();
      } else if (event.type === "warning") say({ message: event.message, level: "warn" });
      else if (event.type === "resumed") say({ message: `Training goes on after step ${event.step}` });
      else if (event.type === "samples" && event.samples.length > 0)
        say({
          message: `Answers ${event.when} training`,
          data: { step: event.step, samples: event.samples },
        });
    },
  };
}

/** All rows are validated on, so the loss and the accuracy are both OpenAI's of a part and of all. */
function validationMetrics({ loss, tokenAccuracy }: EvaluationEvent): Readonly<Record<string, number>> {
  const losses = { full_valid_loss: loss, valid_loss: loss };
  if (tokenAccuracy === undefined) return losses;
  return {
    ...losses,
    full_valid_mean_token_accuracy: tokenAccuracy,
    valid_mean_token_accuracy: tokenAccuracy,
  };
}

/** Label tokens that a whole run learns from. */
export function trainedTokensOf({ tokensPerEpoch, steps, stepsPerEpoch }: PlanEvent): number {
  return Math.round((tokensPerEpoch.labels * steps) / Math.max(1, stepsPerEpoch));
}

function planText({ steps, examples, trainableParameters, estimatedSeconds }: PlanEvent): NewEvent {
  return {
    message: `Training on ${examples} examples in ${steps} steps`,
    data: {
      total_steps: steps,
      examples,
      trainable_parameters: trainableParameters,
      estimated_seconds: estimatedSeconds,
    },
  };
}

function stepText(event: StepEvent): NewEvent {
  const { step, steps, loss, learningRate, gradNorm, epoch, tokensPerSecond } = event;
  return {
    type: "metrics",
    message: `Step ${step}/${steps}: training loss=${loss.toFixed(4)}`,
    data: {
      step,
      total_steps: steps,
      train_loss: loss,
      learning_rate: learningRate,
      gradient_norm: gradNorm,
      epoch,
      tokens_per_second: tokensPerSecond,
    },
  };
}

function evaluationText(event: EvaluationEvent): NewEvent {
  const { step, split, loss } = event;
  return {
    type: "metrics",
    message: `Step ${step}: ${split} loss=${loss.toFixed(4)}`,
    data: { step, ...(split === "validation" ? validationMetrics(event) : { test_loss: loss }) },
  };
}
