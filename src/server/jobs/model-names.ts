import type { Job } from "./job-store.ts";

/** What a suffix may hold: it becomes part of a model's name. */
export const SUFFIX: RegExp = /^[\p{L}\p{N}_.-]{1,64}$/u;

/** Name of the adapter of a job: `ft:<base>:<suffix>:<id>`, OpenAI's without the organization. */
export function fineTunedName({ model, suffix, id }: Pick<Job, "model" | "suffix" | "id">): string {
  return `ft:${model}:${suffix ?? ""}:${id.replace(/^ftjob-/, "")}`;
}

const NAME = /^(ft:.*:([0-9a-f]+))(?::ckpt-step-(\d{1,7}))?$/su;

/** Whose adapter has this name: the id of a job, the name of its model, and the step of a checkpoint; null: nobody's. */
export function partsOfName(
  name: string,
): { readonly jobId: string; readonly model: string; readonly step: number | null } | null {
  const [, model, id, step] = NAME.exec(name) ?? [];
  if (model === undefined) return null;
  return { jobId: `ftjob-${id}`, model, step: step === undefined ? null : Number(step) };
}

/** Name of the adapter of a checkpoint. */
export function checkpointName(job: Pick<Job, "model" | "suffix" | "id">, step: number): string {
  return `${fineTunedName(job)}:ckpt-step-${step}`;
}
