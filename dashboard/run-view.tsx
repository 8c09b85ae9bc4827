import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { RunCurve, RunInfo } from "../src/server/dashboard/shapes.ts";
import { askJson, messageOf } from "./api.ts";
import { type Fact, Facts } from "./facts.tsx";
import { LossChart } from "./loss-chart.tsx";
import { count, duration, rate } from "./text.ts";

interface RunViewProps {
  readonly run: RunInfo;
  readonly name: string;
  /** What is said of it beside its speed. */
  readonly facts: readonly Fact[];
  /** Between its facts and its curve. */
  readonly children?: ComponentChildren;
}

/** A run with its loss curve, which grows as the run does. */
export function RunView({ run, name, facts, children }: RunViewProps) {
  const { curve, error } = useCurve(run);
  return (
    <div class="curve">
      <h3>{name}</h3>
      {run.steps !== null && (
        <progress value={run.step} max={run.steps} aria-label={`Steps of ${name}`}>
          {progressOf(run)}
        </progress>
      )}
      <Facts facts={[...facts, ...paceOf(run)]} small />
      {children}
      {error !== null && (
        <p class="error" role="alert">
          {error}
        </p>
      )}
      {curve !== null && <LossChart name={name} curve={curve} />}
    </div>
  );
}

function paceOf({ state, tokensPerSecond, etaMs }: RunInfo): readonly Fact[] {
  return [
    ...(tokensPerSecond === null || state !== "running" ? [] : [["Speed", rate(tokensPerSecond)] as const]),
    ...(etaMs === null ? [] : [["Time left", duration(etaMs)] as const]),
  ];
}

/** "step 3 of 10, 12.0 s left" */
export function progressOf({ step, steps, etaMs }: RunInfo): string {
  const done = steps === null ? "no step yet" : `step ${count(step)} of ${count(steps)}`;
  return etaMs === null ? done : `${done}, ${duration(etaMs)} left`;
}

/** A run's curve, asked for again whenever the run has changed. */
function useCurve({ id, version }: RunInfo): {
  readonly curve: RunCurve | null;
  readonly error: string | null;
} {
  const [curve, setCurve] = useState<RunCurve | null>(null);
  const [error, setError] = useState<string | null>(null);
  useEffect(() => {
    const controller = new AbortController();
    const path = `dashboard/runs/${id.split("/").map(encodeURIComponent).join("/")}`;
    askJson<RunCurve>(path, controller.signal).then(
      (next) => {
        setCurve(next);
        setError(null);
      },
      (reason) => {
        if (!controller.signal.aborted) setError(messageOf(reason));
      },
    );
    return () => controller.abort();
  }, [id, version]);
  return { curve, error };
}
