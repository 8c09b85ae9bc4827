import { useEffect, useRef, useState } from "preact/hooks";
import type { Question } from "./answer.ts";
import type { Compared } from "./app.tsx";
import { checkpointsText, isCheckpoint } from "./checkpoints.ts";

interface FormProps {
  /** The base, then its adapters. */
  readonly models: readonly string[];
  readonly contextLength: number;
  readonly isRunning: boolean;
  /** Chosen elsewhere on the page. */
  readonly compared: Compared | null;
  onSend(models: readonly string[], question: Question): void;
  onStop(): void;
}

/** Browsers keep six connections to a server (HTTP/1.1), one of which is for the status: a further answer would wait for the others, and
 *  its times be wrong. */
const MOST_CHOSEN = 5;

/** More columns than this are not asked for unless they are chosen. */
const CHOSEN_AT_FIRST = 2;

export function QuestionForm(props: FormProps) {
  const { models, contextLength, isRunning, compared, onSend, onStop } = props;
  const form = useRef<HTMLFormElement>(null);
  const [changed, setChanged] = useState<Readonly<Record<string, boolean>>>({});
  useEffect(() => {
    if (compared === null) return;
    const chosen = [models[0], compared.model];
    setChanged(Object.fromEntries(models.map((model) => [model, chosen.includes(model)])));
    form.current?.querySelector("textarea")?.focus();
    form.current?.scrollIntoView();
  }, [compared]);
  const others = models.filter((model) => !isCheckpoint(model));
  const isChosen = (model: string): boolean =>
    changed[model] ?? others.slice(0, CHOSEN_AT_FIRST).includes(model);
  const chosen = models.filter(isChosen);
  const isCountRight = chosen.length > 0 && chosen.length <= MOST_CHOSEN;
  const send = (): void => {
    if (!form.current?.reportValidity() || isRunning || !isCountRight) return;
    onSend(chosen, questionOf(new FormData(form.current)));
  };
  return (
    <form
      ref={form}
      class="question"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <label>
        Prompt
        <textarea
          name="prompt"
          rows={4}
          required
          aria-describedby="prompt-help"
          onKeyDown={(event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send();
          }}
        />
      </label>
      <p id="prompt-help" class="facts">
        Ctrl+Enter sends it to every model that is ticked.
      </p>
      <fieldset>
        <legend>Models</legend>
        <Choices
          models={models}
          isChosen={isChosen}
          onChange={(model, isNow) => setChanged({ ...changed, [model]: isNow })}
        />
        <p class="error" role="status">
          {chosen.length > MOST_CHOSEN && `At most ${MOST_CHOSEN} answers at a time.`}
        </p>
      </fieldset>
      <details>
        <summary>Options</summary>
        <Options contextLength={contextLength} />
      </details>
      <div class="row">
        <button type="submit" disabled={isRunning || !isCountRight}>
          Send
        </button>
        <button type="button" class="quiet" disabled={!isRunning} onClick={onStop}>
          Stop all
        </button>
      </div>
    </form>
  );
}

interface ChoicesProps {
  /** The base is the first. */
  readonly models: readonly string[];
  isChosen(model: string): boolean;
  onChange(model: string, isNow: boolean): void;
}

function Choices({ models, isChosen, onChange }: ChoicesProps) {
  const list = (some: readonly string[]) => (
    <div class="choices">
      {some.map((model) => (
        <label key={model} class="choice">
          <input
            type="checkbox"
            checked={isChosen(model)}
            onChange={(event) => onChange(model, event.currentTarget.checked)}
          />
          {model}
          {model === models[0] && <span class="facts"> base</span>}
        </label>
      ))}
    </div>
  );
  const checkpoints = models.filter(isCheckpoint);
  return (
    <>
      {list(models.filter((model) => !isCheckpoint(model)))}
      {checkpoints.length > 0 && (
        <details>
          <summary>{checkpointsText(checkpoints.length)}</summary>
          {list(checkpoints)}
        </details>
      )}
    </>
  );
}

function Options({ contextLength }: { readonly contextLength: number }) {
  const most = Math.min(256, Math.floor(contextLength / 2));
  return (
    <div class="options">
      <label class="wide">
        System message
        <textarea name="system" rows={2} />
      </label>
      <label>
        Temperature (0: the likeliest token)
        <input type="number" name="temperature" min="0" max="100" step="any" defaultValue="0" required />
      </label>
      <label>
        Most tokens of an answer
        <input
          type="number"
          name="maxTokens"
          min="1"
          max={contextLength}
          step="1"
          defaultValue={most}
          required
        />
      </label>
    </div>
  );
}

function questionOf(data: FormData): Question {
  const text = (name: string): string => String(data.get(name) ?? "");
  return {
    prompt: text("prompt"),
    system: text("system"),
    temperature: Number(text("temperature")),
    maxTokens: Number(text("maxTokens")),
  };
}
