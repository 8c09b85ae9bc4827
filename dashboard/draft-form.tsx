import type { JobOption } from "../src/server/dashboard/shapes.ts";
import { type Draft, type DraftChange, optionsFor } from "./draft.ts";
import { ValidationFile } from "./validation-file.tsx";

/** Options that are seldom needed, but where a file is not understood. */
const DATA = "Data";

interface DraftFormProps {
  readonly draft: Draft;
  readonly options: readonly JobOption[];
  onChange(change: DraftChange): void;
  onValidation(file: File | null): void;
  /** What was changed is to be planned. */
  onPlan(): void;
  onStart(): void;
  onDiscard(): void;
}

/** Options of a job, and its start. */
export function DraftForm(props: DraftFormProps) {
  const { draft, options, onChange, onValidation, onPlan, onStart, onDiscard } = props;
  const { state, preview, suffix, seed } = draft;
  const shown = optionsFor(draft, options);
  const fields = (list: readonly JobOption[]) =>
    list.map((option) => (
      <Field
        key={option.key}
        option={option}
        value={draft.values[option.key] ?? usedBy(draft, option)}
        onInput={(value) => onChange({ values: { ...draft.values, [option.key]: value } })}
        onChange={onPlan}
      />
    ));
  return (
    <form
      class="question"
      onSubmit={(event) => {
        event.preventDefault();
        if (state === "ready" && preview?.plan) onStart();
      }}
    >
      <div class="options">
        <label>
          Name of the model
          <input
            name="suffix"
            value={suffix}
            maxLength={64}
            onInput={(event) => onChange({ suffix: event.currentTarget.value })}
          />
          <span class="facts">it becomes a part of it: ft:…:{suffix || "name"}:…</span>
        </label>
        {fields(shown.filter(({ group }) => group !== DATA))}
        <label>
          Seed
          <input
            name="seed"
            value={seed}
            inputMode="numeric"
            placeholder="a random one"
            onInput={(event) => onChange({ seed: event.currentTarget.value })}
            onChange={onPlan}
          />
          <span class="facts">the same seed on the same machine gives the same adapter</span>
        </label>
        <ValidationFile name={draft.validation?.name ?? null} onFile={onValidation} />
      </div>
      <details open={preview?.plan === null}>
        <summary>Options of the data</summary>
        <div class="options">{fields(shown.filter(({ group }) => group === DATA))}</div>
      </details>
      <div class="row">
        <button type="submit" disabled={state !== "ready" || !preview?.plan || draft.error !== null}>
          Start
        </button>
        <button type="button" class="quiet" disabled={state === "starting"} onClick={onDiscard}>
          Discard
        </button>
      </div>
    </form>
  );
}

/** The value that the plan has. */
function usedBy({ preview }: Draft, { key }: JobOption): string {
  const value = preview?.lowrank[key] ?? null;
  return value === null ? "" : String(value);
}

interface FieldProps {
  readonly option: JobOption;
  readonly value: string;
  onInput(value: string): void;
  onChange(): void;
}

function Field({ option, value, onInput, onChange }: FieldProps) {
  const { key, description, isNumber, choices, defaultText } = option;
  const id = `option-${key}`;
  const given = { id, name: key, value, "aria-describedby": `${id}-help`, onChange };
  return (
    <div class="field">
      <label for={id}>{wordsOf(key)}</label>
      {choices === null ? (
        <input
          {...given}
          inputMode={isNumber ? "decimal" : "text"}
          placeholder={defaultText ?? ""}
          onInput={(event) => onInput(event.currentTarget.value)}
        />
      ) : (
        <select {...given} onInput={(event) => onInput(event.currentTarget.value)}>
          {choices.map((choice) => (
            <option key={choice}>{choice}</option>
          ))}
        </select>
      )}
      <span id={`${id}-help`} class="facts">
        {choices === null ? description : ""}
      </span>
    </div>
  );
}

/** "learningRate" → "Learning rate" */
function wordsOf(key: string): string {
  const words = key.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return words.replace(/^./, (letter) => letter.toUpperCase());
}
