import type { PreviewSpan, TrainEvent } from "lowrank/browser";
import type { ModelFacts, Reply } from "./messages.ts";

/** A step, or an evaluation, and its loss. */
export type Point = readonly [step: number, loss: number];

/** Everything that the page shows of what the worker did. */
export interface State {
  readonly facts: ModelFacts | null;
  readonly rows: readonly PreviewSpan[][];
  readonly steps: number;
  readonly losses: readonly Point[];
  readonly held: readonly Point[];
  readonly stepMs: number | null;
  readonly notices: readonly string[];
  readonly isTrained: boolean;
  readonly answers: { readonly base: string | null; readonly adapter: string | null };
  /** What is under way, in words; null for nothing. */
  readonly busy: string | null;
  readonly error: string | null;
}

const NO_RUN = {
  ...{ steps: 0, losses: [], held: [], stepMs: null, notices: [], isTrained: false },
  answers: { base: null, adapter: null },
};

export const START: State = { facts: null, rows: [], ...NO_RUN, busy: null, error: null };

/** What happened: the worker said something, or the user began something. */
export type Happening = Reply | { readonly kind: "begun"; readonly what: string; readonly forgets: Forgets };

type Forgets = "nothing" | "run" | "all";

export function next(state: State, happening: Happening): State {
  switch (happening.kind) {
    case "begun":
      return begun(state, happening);
    case "progress":
      return { ...state, busy: progressText(happening) };
    case "opened":
      return { ...state, facts: happening.facts };
    case "rows":
      return { ...state, rows: happening.rows };
    case "event":
      return withEvent(state, happening.event);
    case "answer":
      return { ...state, answers: { ...state.answers, [happening.of]: happening.text } };
    case "error":
      return { ...state, error: happening.message };
    case "done":
      return { ...state, busy: null };
    case "adapter":
      return state;
  }
}

function begun(state: State, { what, forgets }: Extract<Happening, { kind: "begun" }>): State {
  const kept = forgets === "all" ? START : forgets === "run" ? { ...state, ...NO_RUN } : state;
  return { ...kept, busy: what, error: null };
}

function progressText({ what, doneBytes, totalBytes }: Extract<Reply, { kind: "progress" }>): string {
  const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
  return totalBytes ? `${what}: ${megabytes(doneBytes)} of ${megabytes(totalBytes)} MB` : what;
}

function withEvent(state: State, event: TrainEvent): State {
  switch (event.type) {
    case "plan":
      return { ...state, steps: event.steps, busy: "loading the training graph" };
    case "ready":
      return { ...state, busy: "training" };
    case "step":
      return {
        ...state,
        losses: [...state.losses, [event.step, event.loss]],
        stepMs: event.elapsedMs,
        busy: `training: step ${event.step} of ${event.steps}`,
      };
    case "evaluation":
      return { ...state, held: [...state.held, [event.step, event.loss]] };
    case "warning":
      return { ...state, notices: [...state.notices, event.message] };
    case "stopped":
      return {
        ...state,
        notices: [...state.notices, `Stopped after step ${event.step}: there is no adapter.`],
      };
    case "done":
      return { ...state, isTrained: true };
    default:
      return state;
  }
}
