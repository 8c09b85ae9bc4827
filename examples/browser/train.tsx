import { useState } from "preact/hooks";
import { LossChart } from "./loss-chart.tsx";
import type { Settings } from "./messages.ts";
import type { Point, State } from "./state.ts";

interface Props {
  readonly state: State;
  readonly isReady: boolean;
  readonly onTrain: (settings: Settings) => void;
  readonly onStop: () => void;
}

interface Field {
  readonly key: keyof Settings;
  readonly label: string;
  readonly min: number;
  readonly step: number | "any";
}

const FIELDS: readonly Field[] = [
  { key: "maxSteps", label: "Steps", min: 1, step: 1 },
  { key: "batchSize", label: "Rows in a step", min: 1, step: 1 },
  { key: "learningRate", label: "Learning rate", min: 0, step: "any" },
  { key: "rank", label: "Rank", min: 1, step: 1 },
];
const DEFAULTS: Settings = { maxSteps: 40, batchSize: 4, learningRate: 0.001, rank: 8 };

/** How to train, and how it goes. */
export function Train({ state, isReady, onTrain, onStop }: Props) {
  const [settings, setSettings] = useState(DEFAULTS);
  const isTraining = state.busy?.startsWith("training") ?? false;
  return (
    <section aria-labelledby="train">
      <h2 id="train">3. Training</h2>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          onTrain(settings);
        }}
      >
        {FIELDS.map(({ key, label, min, step }) => (
          <label key={key}>
            {label}
            <input
              type="number"
              value={settings[key]}
              min={min}
              step={step}
              required
              onInput={({ currentTarget }) =>
                setSettings({ ...settings, [key]: currentTarget.valueAsNumber })
              }
            />
          </label>
        ))}
        {isTraining ? (
          <button type="button" onClick={onStop}>
            Stop
          </button>
        ) : (
          <button type="submit" disabled={!isReady}>
            Train
          </button>
        )}
      </form>
      {state.losses.length > 0 && (
        <>
          <LossChart losses={state.losses} held={state.held} steps={state.steps} />
          <p class="facts">{summary(state)}</p>
        </>
      )}
      {state.notices.map((notice) => (
        <p class="facts" key={notice}>
          {notice}
        </p>
      ))}
    </section>
  );
}

function summary({ losses, held, stepMs }: State): string {
  const change = (what: string, points: readonly Point[]): string[] => {
    const [first, last] = [points[0], points.at(-1)];
    return first && last && first !== last ? [`${what} ${first[1].toFixed(3)} → ${last[1].toFixed(3)}`] : [];
  };
  const parts = [...change("training loss", losses), ...change("held-out loss", held)];
  if (stepMs !== null) parts.push(`${(stepMs / 1000).toFixed(2)} s a step`);
  return `${parts.join(", ")} (nats per token)`;
}
