import type { PlanEvent, StepEvent, StoppedEvent, TrainEvent } from "../../train/events.ts";
import type { Sample } from "../../train/sample.ts";
import { formatDuration } from "./format.ts";
import { type LiveLine, liveLine } from "./live-line.ts";
import type { Output } from "./output.ts";
import { type Pace, pace } from "./pace.ts";
import { progressDisplay } from "./progress.ts";
import { printable } from "./text.ts";
import {
  answerLines,
  evaluationLine,
  exactMatchLines,
  liveStepText,
  planLines,
  previewLines,
  profileLines,
  sampleLines,
  stepLine,
  summaryLines,
} from "./train-text.ts";

/** Shows a run's events as they come. */
export interface TrainDisplay {
  show(event: TrainEvent): void;
  /** A line from the command itself, kept clear of the live line. */
  print(line: string): void;
  /** Ends the live line; what follows starts on a fresh line. */
  close(): void;
}

type LinesOf = { [K in TrainEvent["type"]]: (event: Extract<TrainEvent, { type: K }>) => readonly string[] };

/** Events after which the live line stands still. */
const ENDS_STEPS: ReadonlySet<TrainEvent["type"]> = new Set(["stopped", "done"]);

/** One live line (bar, loss, learning rate, tokens/s, ETA) on a terminal; lines at a pace where piped. */
export function trainDisplay(output: Output, now: () => number = Date.now): TrainDisplay {
  const bytes = progressDisplay(output, now);
  const steps = stepDisplay(output, pace(now));
  const lines = eventLines(output);
  const print = (text: readonly string[]): void => {
    bytes.close();
    if (text.length > 0) steps.print(text.map((line) => `${line}\n`).join(""));
  };
  return {
    show: (event) => {
      if (event.type === "progress") return bytes.show(event);
      if (ENDS_STEPS.has(event.type) || (event.type === "samples" && event.when === "after")) steps.close();
      print((lines[event.type] as (event: TrainEvent) => readonly string[])(event));
      if (event.type === "step") steps.show(event);
    },
    print: (line) => print([line]),
    close: () => {
      bytes.close();
      steps.close();
    },
  };
}

/** Until a plan says otherwise. */
const LANGUAGE = { lossUnit: "nats per token", counts: "tokens", command: "generate" };

/** What each event says in whole lines. */
function eventLines(output: Output): LinesOf {
  const { style, columns } = output;
  let before: readonly Sample[] = [];
  let split = "held-out";
  let planned: Pick<PlanEvent, "lossUnit" | "counts" | "command"> = LANGUAGE;
  return {
    progress: () => [],
    step: () => [],
    ready: ({ elapsedMs }) => [style.dim(`loaded what steps need in ${formatDuration(elapsedMs)}`)],
    plan: (plan) => {
      planned = plan;
      return ["", ...planLines(plan, columns()), ""];
    },
    preview: (preview) => [...previewLines(preview, style), ""],
    evaluation: (evaluation) => {
      if (split !== "test") split = evaluation.split;
      return [evaluationLine(evaluation, planned.counts)];
    },
    profile: (event) => profileLines(event, style),
    checkpoint: ({ path, isBest }) => [style.dim(`checkpoint ${path}${isBest ? " (best)" : ""}`)],
    samples: (event) => {
      if (event.when === "during") return answerLines(event, columns(), style);
      const scored = exactMatchLines(event);
      if (event.when === "after") return [...scored, ...sampleLines(before, event.samples, columns(), style)];
      before = event.samples;
      return scored;
    },
    warning: ({ message }) => [`${style.yellow("warning:")} ${printable(message)}`],
    resumed: ({ step, path }) => [`resumed after step ${step} from ${path}`],
    stopped: stoppedLines,
    done: (done) => ["", ...summaryLines(done, split, before[0]?.prompt ?? null, planned)],
  };
}

function stoppedLines({ reason, step, resumeHint }: StoppedEvent): readonly string[] {
  const why = reason === "interrupt" ? "stopped" : "the validation loss no longer falls: stopped";
  const hint = resumeHint === null ? [] : [`go on with: ${resumeHint}`];
  return [`${why} after step ${step}`, ...hint];
}

interface StepDisplay {
  show(step: StepEvent): void;
  print(text: string): void;
  close(): void;
}

function stepDisplay(output: Output, due: Pace): StepDisplay {
  let line: LiveLine | null = null;
  let isFirst = true;
  return {
    show: (step) => {
      const share = step.step / step.steps;
      if (output.isLive) {
        line ??= liveLine(output);
        line.update(share, liveStepText(step));
      } else if (due.isDue(share, isFirst, step.step === step.steps)) output.write(`${stepLine(step)}\n`);
      isFirst = false;
    },
    print: (text) => (line ?? output).write(text),
    close: () => {
      line?.stop();
      line = null;
    },
  };
}
