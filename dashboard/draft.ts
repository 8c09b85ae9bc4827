import { useEffect, useRef, useState } from "preact/hooks";
import type { JobOption } from "../src/server/dashboard/shapes.ts";
import type { JobPreview } from "../src/server/jobs/preview-object.ts";
import { ask, messageOf, send } from "./api.ts";

const JOBS = "v1/fine_tuning/jobs";
const UPLOADS_LAST_SECONDS = 24 * 3600;

/** A job that is not started yet. */
export interface Draft {
  readonly file: File;
  /** null: it is on its way to the server. */
  readonly fileId: string | null;
  /** A file to measure the loss on; null: a part of the examples is held out. */
  readonly validation: { readonly name: string; readonly fileId: string } | null;
  readonly suffix: string;
  /** As it was typed; empty: the server chooses one. */
  readonly seed: string;
  /** Options that were changed, as they were typed. */
  readonly values: Readonly<Record<string, string>>;
  readonly state: "uploading" | "planning" | "ready" | "starting";
  /** Of these values; of the values before while the state is "planning". */
  readonly preview: JobPreview | null;
  readonly error: string | null;
}

/** What is typed. */
export type DraftChange = Partial<Pick<Draft, "suffix" | "seed" | "values">>;

/** What can be done with a draft. */
export interface DraftActions {
  /** Uploads a file and asks what a job on it would do. */
  choose(file: File): void;
  /** Uploads a file to measure on and asks anew; null: there is to be none. */
  validateOn(file: File | null): void;
  /** Takes what is typed; `plan` then asks anew. */
  change(change: DraftChange): void;
  plan(): void;
  start(): void;
  /** Forgets it, its file too. */
  discard(): void;
}

/** The job that is being made, at most one. `onStarted` gets the id of one that was started. */
export function useDraft(
  base: string,
  options: readonly JobOption[],
  onStarted: (id: string) => void,
): readonly [Draft | null, DraftActions] {
  const [draft, setDraft] = useState<Draft | null>(null);
  const work = useRef(new AbortController());
  useEffect(() => () => work.current.abort(), []);
  const update = (change: Partial<Draft>): void => setDraft((before) => before && { ...before, ...change });
  /** What was under way before is given up. */
  const attempt = async (run: (signal: AbortSignal) => Promise<void>): Promise<void> => {
    work.current.abort();
    work.current = new AbortController();
    const { signal } = work.current;
    await run(signal).catch((error) => {
      if (!signal.aborted) update({ state: "ready", error: messageOf(error) });
    });
  };
  const planFor = async (one: Draft, signal: AbortSignal): Promise<void> => {
    update({ state: "planning", error: null });
    const preview = await send<JobPreview>(`${JOBS}/preview`, bodyOf(base, one, options), signal);
    update({ state: "ready", preview });
  };
  const discard = (): void => {
    work.current.abort();
    if (draft?.fileId) forget(draft.fileId);
    if (draft?.validation) forget(draft.validation.fileId);
    setDraft(null);
  };
  return [
    draft,
    {
      choose: (file) => {
        if (draft?.state === "starting") return; // its files are the job's
        discard();
        const one = draftOf(file);
        setDraft(one);
        void attempt(async (signal) => {
          const fileId = await upload(file, signal);
          if (signal.aborted) return forget(fileId);
          update({ fileId });
          await planFor({ ...one, fileId }, signal);
        });
      },
      validateOn: (file) => {
        if (!draft?.fileId || draft.state === "starting") return;
        if (draft.validation) forget(draft.validation.fileId);
        const one = { ...draft, validation: null };
        update({ validation: null, state: "uploading", error: null });
        void attempt(async (signal) => {
          if (file === null) return planFor(one, signal);
          const fileId = await upload(file, signal);
          if (signal.aborted) return forget(fileId);
          const validation = { name: file.name, fileId };
          update({ validation });
          await planFor({ ...one, validation }, signal);
        });
      },
      change: update,
      plan: () => void (draft?.fileId && attempt((signal) => planFor(draft, signal))),
      start: () =>
        void attempt(async () => {
          if (draft === null) return;
          update({ state: "starting", error: null });
          const { id } = await send<{ id: string }>(JOBS, bodyOf(base, draft, options));
          setDraft(null);
          onStarted(id);
        }),
      discard,
    },
  ];
}

function draftOf(file: File): Draft {
  const suffix = file.name
    .replace(/\.[^.]*$/, "")
    .replace(/[^\p{L}\p{N}_.-]+/gu, "-")
    .slice(0, 64);
  return {
    ...{ file, fileId: null, validation: null, suffix, seed: "", values: {} },
    ...{ state: "uploading", preview: null, error: null },
  };
}

async function upload(file: File, signal: AbortSignal): Promise<string> {
  const form = new FormData();
  form.append("purpose", "fine-tune");
  // A tab that is closed cannot delete what it has uploaded. What a job needs stays until the job has ended.
  form.append("expires_after[anchor]", "created_at");
  form.append("expires_after[seconds]", String(UPLOADS_LAST_SECONDS));
  form.append("file", file);
  return (await send<{ id: string }>("v1/files", form, signal)).id;
}

/** No job needs it: where it stays, nobody is hurt. */
function forget(fileId: string): void {
  ask(`v1/files/${fileId}`, { method: "DELETE" }).catch(() => undefined);
}

/** The request for the job. What is empty, or no option of the method, is left out. */
function bodyOf(base: string, draft: Draft, options: readonly JobOption[]): object {
  const { fileId, validation, suffix, seed, values } = draft;
  const given = optionsFor(draft, options).filter(({ key }) => (values[key] ?? "").trim() !== "");
  const lowrank = given.map(({ key, isNumber }) => [key, isNumber ? numberIn(values[key]) : values[key]]);
  return {
    model: base,
    training_file: fileId,
    ...(validation === null ? {} : { validation_file: validation.fileId }),
    ...(suffix === "" ? {} : { suffix }),
    ...(seed.trim() === "" ? {} : { seed: numberIn(seed) }),
    lowrank: Object.fromEntries(lowrank),
  };
}

/** What is no number stays as it is: the server says what it expects. */
function numberIn(text = ""): number | string {
  return Number.isNaN(Number(text)) ? text : Number(text);
}

/** The chosen method; before anything was planned "". */
export function methodOf({ values, preview }: Draft): string {
  return values.method ?? String(preview?.lowrank.method ?? "");
}

/** Options that have an effect on a draft: those of its method, and none on a part to hold out beside a file to measure on. */
export function optionsFor(draft: Draft, options: readonly JobOption[]): readonly JobOption[] {
  const method = methodOf(draft);
  return options.filter(
    (option) => isFor(option, method) && !(draft.validation !== null && option.key === "validationFraction"),
  );
}

/** Whether a method has an option. */
export function isFor({ methods }: JobOption, method: string): boolean {
  return methods === null || methods.includes(method);
}
