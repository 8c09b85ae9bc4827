import type { State } from "./state.ts";

interface Props {
  readonly state: State;
  readonly prompt: string;
  readonly onPrompt: (prompt: string) => void;
  readonly onCompare: () => void;
  readonly onDownload: () => void;
}

/** The same prompt before and after, and the adapter to take away. */
export function Compare({ state, prompt, onPrompt, onCompare, onDownload }: Props) {
  const { isTrained, busy, answers } = state;
  const isIdle = isTrained && busy === null;
  return (
    <section aria-labelledby="compare">
      <h2 id="compare">4. Before and after</h2>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          onCompare();
        }}
      >
        <label class="wide">
          Prompt
          <textarea
            rows={3}
            value={prompt}
            required
            onInput={(event) => onPrompt(event.currentTarget.value)}
          />
        </label>
        <button type="submit" disabled={!isIdle}>
          Compare
        </button>
        <button type="button" class="plain" disabled={!isIdle} onClick={onDownload}>
          Download the adapter
        </button>
      </form>
      {answers.base !== null && (
        <div class="sides">
          <Answer title="Before" text={answers.base} />
          <Answer title="After" text={answers.adapter ?? ""} />
        </div>
      )}
    </section>
  );
}

function Answer({ title, text }: { readonly title: string; readonly text: string }) {
  return (
    <article aria-label={title}>
      <h3>{title}</h3>
      <p class="answer">{text}</p>
    </article>
  );
}
