import { useState } from "preact/hooks";
import type { RunInfo } from "../src/server/dashboard/shapes.ts";
import type { PartProps } from "./app.tsx";
import type { Fact } from "./facts.tsx";
import { progressOf, RunView } from "./run-view.tsx";
import { count, loss, NOT_KNOWN } from "./text.ts";

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
      <RunView key={shown.id} run={shown} name={shown.name} facts={factsOf(shown)} />
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

function factsOf({ data, model, method, loss: last }: RunInfo): readonly Fact[] {
  return [
    ["Data", data ?? NOT_KNOWN],
    ["Model", model ?? NOT_KNOWN],
    ["Method", method ?? NOT_KNOWN],
    ["Loss", last === null ? NOT_KNOWN : loss(last)],
  ];
}
