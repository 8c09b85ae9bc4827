import type { Job } from "./job-store.ts";

/** What a suffix may hold: it becomes part of a model's name. */
export const SUFFIX: RegExp = /^[\p{L}\p{N}_.-]{1,64}$/u;

/** Name of the adapter of a job: `ft:<base>:<suffix>:<id>`, OpenAI's without the organization. */
export function fineTunedName({ model, suffix, id }: Pick<Job, "model" | "suffix" | "id">): string {
  return `ft:${model}:${suffix ?? ""}:${id.replace(/^ftjob-/, "")}`;
}

/** Name of the adapter of a checkpoint. */
export function checkpointName(job: Pick<Job, "model" | "suffix" | "id">, step: number): string {
  return `${fineTunedName(job)}:ckpt-step-${step}`;
}
