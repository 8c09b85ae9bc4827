import { useEffect, useRef, useState } from "preact/hooks";
import { type Answer, type Question, streamAnswer, WAITING } from "./answer.ts";
import { messageOf } from "./api.ts";
import type { PartProps } from "./app.tsx";
import { QuestionForm } from "./question-form.tsx";
import { duration, rate } from "./text.ts";

/** Answers by model, in the order in which they were asked for. */
type Answers = Readonly<Record<string, Answer>>;

/** One prompt to several models, side by side. */
export function Compare({ view, compared }: PartProps) {
  const [answers, setAnswers] = useState<Answers>({});
  const controllers = useRef(new Map<string, AbortController>());
  useEffect(() => () => stopAll(controllers.current), []);
  const isRunning = Object.values(answers).some(isUnderWay);
  const send = (models: readonly string[], question: Question): void => {
    stopAll(controllers.current);
    controllers.current = new Map(models.map((model) => [model, new AbortController()]));
    setAnswers({});
    for (const [model, { signal }] of controllers.current) void follow(model, question, signal, setAnswers);
  };
  const stop = (model: string): void => controllers.current.get(model)?.abort();
  if (view.status === null) return <p>Waiting for the server.</p>;
  return (
    <>
      <QuestionForm
        models={[view.status.base, ...view.status.adapters.map(({ name }) => name)]}
        contextLength={view.status.contextLength}
        isRunning={isRunning}
        compared={compared}
        onSend={send}
        onStop={() => stopAll(controllers.current)}
      />
      <p class="unseen" role="status">
        {endedText(answers)}
      </p>
      <div class="answers">
        {Object.entries(answers).map(([model, answer]) => (
          <AnswerView key={model} model={model} answer={answer} onStop={() => stop(model)} />
        ))}
      </div>
    </>
  );
}

function isUnderWay({ state }: Answer): boolean {
  return state === "waiting" || state === "streaming";
}

/** Told to screen readers, whom a growing text would interrupt at every token. */
function endedText(answers: Answers): string {
  const ended = Object.entries(answers).filter(([, answer]) => !isUnderWay(answer));
  return ended
    .map(([model, answer]) => `${model}: ${answer.error ?? answer.state}, ${factsOf(answer)}.`)
    .join(" ");
}

function stopAll(controllers: ReadonlyMap<string, AbortController>): void {
  for (const controller of controllers.values()) controller.abort();
}

/** Shows an answer as it comes, unless another question has taken its place. */
async function follow(
  model: string,
  question: Question,
  signal: AbortSignal,
  setAnswers: (change: (before: Answers) => Answers) => void,
): Promise<void> {
  let last: Answer = { ...WAITING };
  const show = (answer: Answer): void => {
    last = answer;
    setAnswers((before) => ({ ...before, [model]: answer }));
  };
  show(last);
  try {
    for await (const answer of streamAnswer(model, question, signal)) if (!signal.aborted) show(answer);
  } catch (error) {
    if (!signal.aborted) return show({ ...last, state: "failed", error: messageOf(error) });
  }
  if (signal.aborted) setAnswers((before) => stopped(before, model, last));
}

/** The answers with one marked as stopped, where it is still the one that is shown. */
function stopped(answers: Answers, model: string, last: Answer): Answers {
  return answers[model] === last ? { ...answers, [model]: { ...last, state: "stopped" } } : answers;
}

function AnswerView(props: { readonly model: string; readonly answer: Answer; onStop(): void }) {
  const { model, answer, onStop } = props;
  const isBusy = isUnderWay(answer);
  return (
    <article class="answer" aria-label={`Answer of ${model}`} aria-busy={isBusy}>
      <div class="head">
        <h3>{model}</h3>
        {isBusy && (
          <button type="button" class="quiet" aria-label={`Stop ${model}`} onClick={onStop}>
            Stop
          </button>
        )}
      </div>
      <p class="text">{answer.text}</p>
      {answer.error !== null && <p class="error">{answer.error}</p>}
      <p class="facts">{factsOf(answer)}</p>
    </article>
  );
}

function factsOf({ state, firstTokenMs, tokens, tokensPerSecond, finishReason }: Answer): string {
  if (state === "waiting") return "waiting for the first token";
  const facts = [
    ...(state === "failed" && tokens === 0 ? [] : [`${tokens} ${tokens === 1 ? "token" : "tokens"}`]),
    ...(tokensPerSecond === null ? [] : [rate(tokensPerSecond)]),
    ...(firstTokenMs === null ? [] : [`first token after ${duration(firstTokenMs)}`]),
    ...(finishReason === "length" ? ["cut at the limit"] : []),
    ...(state === "stopped" || state === "failed" ? [state] : []),
  ];
  return facts.join(" · ");
}
