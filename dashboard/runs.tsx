import { useEffect, useState } from "preact/hooks";
import type { RunCurve, RunInfo } from "../src/server/dashboard/shapes.ts";
import { askJson, messageOf } from "./api.ts";
import type { PartProps } from "./app.tsx";
import { Facts } from "./facts.tsx";
import { LossChart } from "./loss-chart.tsx";
import { count, duration, loss, NOT_KNOWN, rate } from "./text.ts";

/** Runs of `lowrank train` below the folders of adapters, the curve of one of them. */
export function Runs({ view: { status } }: PartProps) {
  const [chosen, setChosen] = useState<string | null>(null);
  if (status === null) return <p>Waiting for the server.</p>;
  const { runs, runsLeftOut, hasFolders } = status;
  if (runs.length === 0) return <NoRuns hasFolders={hasFolders} />;
  const shown = runs.find(({ id }) => id === chosen) ?? (runs[0] as RunInfo);
  return (
    <div class="runs">
      <ul class="list" aria-label="Runs">
        {runs.map((run) => (
          <li key={run.id}>
            <button
              type="button"
              class="run"
              aria-pressed={run.id === shown.id}
              onClick={() => setChosen(run.id)}
            >
              <span class="name">{run.name}</span>
              <span class={`state ${run.state}`}>{run.state}</span>
              <span class="facts">{progressOf(run)}</span>
            </button>
          </li>
        ))}
        {runsLeftOut > 0 && <li class="facts">{count(runsLeftOut)} older runs are not listed.</li>}
      </ul>
      <RunView key={shown.id} run={shown} />
    </div>
  );
}

function NoRuns({ hasFolders }: { readonly hasFolders: boolean }) {
  if (hasFolders)
    return (
      <p>
        None yet. Those that <code>lowrank train</code> writes below a folder of <code>--adapters</code> show
        up here.
      </p>
    );
  return (
    <p>
      None. Start the server with <code>--adapters runs</code> to see those that <code>lowrank train</code>{" "}
      writes there.
    </p>
  );
}

function progressOf({ step, steps, etaMs }: RunInfo): string {
  const done = steps === null ? "no step yet" : `step ${count(step)} of ${count(steps)}`;
  return etaMs === null ? done : `${done}, ${duration(etaMs)} left`;
}

function RunView({ run }: { readonly run: RunInfo }) {
  const { curve, error } = useCurve(run);
  const facts: readonly (readonly [string, string])[] = [
    ["Data", run.data ?? NOT_KNOWN],
    ["Model", run.model ?? NOT_KNOWN],
    ["Method", run.method ?? NOT_KNOWN],
    ["Loss", run.loss === null ? NOT_KNOWN : loss(run.loss)],
    ...(run.tokensPerSecond === null || run.state !== "running"
      ? []
      : [["Speed", rate(run.tokensPerSecond)] as const]),
    ...(run.etaMs === null ? [] : [["Time left", duration(run.etaMs)] as const]),
  ];
  return (
    <div class="curve">
      <h3>{run.name}</h3>
      {run.steps !== null && (
        <progress value={run.step} max={run.steps} aria-label={`Steps of ${run.name}`}>
          {progressOf(run)}
        </progress>
      )}
      <Facts facts={facts} small />
      {error !== null && (
        <p class="error" role="alert">
          {error}
        </p>
      )}
      {curve !== null && <LossChart name={run.name} curve={curve} />}
    </div>
  );
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
