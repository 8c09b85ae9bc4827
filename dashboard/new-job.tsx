import { useEffect, useState } from "preact/hooks";
import type { JobOption } from "../src/server/dashboard/shapes.ts";
import { askJson } from "./api.ts";
import { type Draft, useDraft } from "./draft.ts";
import { DraftForm } from "./draft-form.tsx";
import { FileDrop } from "./file-drop.tsx";
import { PlanFacts, Rows } from "./plan.tsx";
import { bytes, count } from "./text.ts";

interface NewJobProps {
  readonly base: string;
  onStarted(id: string): void;
}

/** From a file to a job: what it would do is shown before anything is started. */
export function NewJob({ base, onStarted }: NewJobProps) {
  const options = useOptions();
  const [started, setStarted] = useState(false);
  const [draft, { choose, validateOn, change, plan, start, discard }] = useDraft(base, options, (id) => {
    setStarted(true);
    onStarted(id);
  });
  const take = (file: File): void => {
    setStarted(false);
    choose(file);
  };
  return (
    <div class="new-job">
      <FileDrop base={base} onFile={take} isSmall={draft !== null} />
      <p class="facts" role="status">
        {draft !== null ? stateOf(draft) : started ? "The job is started: see below." : ""}
      </p>
      {draft?.error && (
        <p class="error" role="alert">
          {draft.error}
        </p>
      )}
      {draft !== null && draft.fileId !== null && (
        <div class={draft.state === "planning" ? "new-job stale" : "new-job"}>
          {draft.preview?.plan && (
            <PlanFacts preview={draft.preview} plan={draft.preview.plan} options={options} />
          )}
          <div class="draft">
            {draft.preview !== null && <Rows preview={draft.preview} />}
            <DraftForm
              draft={draft}
              options={options}
              onChange={change}
              onValidation={validateOn}
              onPlan={plan}
              onStart={start}
              onDiscard={discard}
            />
          </div>
        </div>
      )}
    </div>
  );
}

function stateOf({ file, fileId, state, preview }: Draft): string {
  const name = `${file.name} (${bytes(file.size)})`;
  if (state === "uploading")
    return fileId === null ? `Uploading ${name} …` : "Uploading the validation file …";
  if (state === "planning") return `Reading ${name} and planning the training; nothing is started yet …`;
  if (state === "starting") return "Starting …";
  if (preview === null) return name;
  if (preview.plan === null) return `${name} cannot be trained on as it is.`;
  return `${name}: ${count(preview.plan.examples)} examples. Nothing is started yet.`;
}

function useOptions(): readonly JobOption[] {
  const [options, setOptions] = useState<readonly JobOption[]>([]);
  useEffect(() => {
    const controller = new AbortController();
    // Without them the defaults hold; that the server cannot be reached is said elsewhere.
    askJson<readonly JobOption[]>("dashboard/job-options", controller.signal).then(
      setOptions,
      () => undefined,
    );
    return () => controller.abort();
  }, []);
  return options;
}
