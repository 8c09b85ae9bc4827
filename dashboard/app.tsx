import type { ComponentType } from "preact";
import { useState } from "preact/hooks";
import { Adapters } from "./adapters.tsx";
import { savedKey, saveKey } from "./api.ts";
import { Compare } from "./compare.tsx";
import { FineTune } from "./fine-tune.tsx";
import { KeyForm } from "./key-form.tsx";
import { Load } from "./load.tsx";
import { Runs } from "./runs.tsx";
import { type StatusView, useStatus } from "./status.ts";

/** What a part of the page is given. */
export interface PartProps {
  readonly view: StatusView;
  /** Asks the server now. */
  lookNow(): void;
  /** The model that was last to be compared with the base. */
  readonly compared: Compared | null;
  /** Goes to the comparison of a model with the base. */
  compare(model: string): void;
}

/** Another object for each time that it is asked for. */
export interface Compared {
  readonly model: string;
}

/** The parts of the page, from above: a new one is its file and a line here. */
const PARTS: readonly (readonly [id: string, title: string, ComponentType<PartProps>])[] = [
  ["compare", "Compare", Compare],
  ["fine-tune", "Fine-tune", FineTune],
  ["runs", "Training runs", Runs],
  ["adapters", "Adapters", Adapters],
  ["load", "Server load", Load],
];

export function App() {
  const [key, setKey] = useState(savedKey());
  const [compared, setCompared] = useState<Compared | null>(null);
  const { view, lookNow } = useStatus(key);
  const useKey = (next: string | null): void => {
    saveKey(next);
    setKey(next);
  };
  const part = { view, lookNow, compared, compare: (model: string) => setCompared({ model }) };
  return (
    <>
      <a class="skip" href="#main">
        Skip to content
      </a>
      <header>
        <h1>lowrank</h1>
        <p class="base">{view.status?.base ?? ""}</p>
        {!view.needsKey && (
          <nav aria-label="Parts of the page">
            {PARTS.map(([id, title]) => (
              <a key={id} href={`#${id}`}>
                {title}
              </a>
            ))}
          </nav>
        )}
        {key !== null && !view.needsKey && (
          <button type="button" class="quiet" onClick={() => useKey(null)}>
            Forget key
          </button>
        )}
      </header>
      <main id="main" tabIndex={-1}>
        {view.needsKey && <KeyForm isWrong={key !== null} onKey={useKey} />}
        {view.error !== null && !view.needsKey && (
          <p class="notice" role="alert">
            No news from the server: {view.error}. Trying again.
          </p>
        )}
        {!view.needsKey &&
          PARTS.map(([id, title, Part]) => (
            <section key={id} id={id} aria-labelledby={`${id}-title`}>
              <h2 id={`${id}-title`}>{title}</h2>
              <Part {...part} />
            </section>
          ))}
      </main>
    </>
  );
}
