import type { CheckpointRow, EventRow } from "./event-store.ts";
import type { FileRow } from "./file-store.ts";
import type { Hyperparameters, Job, JobError } from "./job-store.ts";
import type { Page } from "./paging.ts";

// What OpenAI's clients read; test/server/jobs checks it against the types of the openai package.

export interface JobObject {
  readonly id: string;
  readonly object: "fine_tuning.job";
  readonly created_at: number;
  readonly finished_at: number | null;
  readonly estimated_finish: number | null;
  readonly model: string;
  readonly fine_tuned_model: string | null;
  readonly organization_id: "lowrank";
  readonly status: Job["status"];
  readonly training_file: string;
  readonly validation_file: string | null;
  readonly hyperparameters: Hyperparameters;
  readonly method: {
    readonly type: "supervised";
    readonly supervised: { readonly hyperparameters: Hyperparameters };
  };
  readonly seed: number;
  /** Tokens with a loss on them, over all epochs. */
  readonly trained_tokens: number | null;
  readonly result_files: readonly string[];
  readonly integrations: readonly never[];
  readonly metadata: Readonly<Record<string, string>> | null;
  readonly error: JobError | null;
}

export interface EventObject {
  readonly id: string;
  readonly object: "fine_tuning.job.event";
  readonly created_at: number;
  readonly level: EventRow["level"];
  readonly message: string;
  readonly type: EventRow["type"];
  readonly data: Readonly<Record<string, unknown>> | null;
}

export interface CheckpointObject {
  readonly id: string;
  readonly object: "fine_tuning.job.checkpoint";
  readonly created_at: number;
  readonly fine_tuned_model_checkpoint: string;
  readonly fine_tuning_job_id: string;
  readonly step_number: number;
  readonly metrics: Readonly<Record<string, number>>;
}

export interface FileObject {
  readonly id: string;
  readonly object: "file";
  readonly bytes: number;
  readonly created_at: number;
  readonly filename: string;
  readonly purpose: "fine-tune" | "fine-tune-results";
  readonly status: "processed";
}

export function jobAnswer(job: Job): JobObject {
  const { hyperparameters } = job;
  return {
    id: job.id,
    object: "fine_tuning.job",
    created_at: job.createdAt,
    finished_at: job.finishedAt,
    estimated_finish: job.status === "running" ? job.estimatedFinish : null,
    model: job.model,
    fine_tuned_model: job.fineTunedModel,
    organization_id: "lowrank",
    status: job.status,
    training_file: job.trainingFile,
    validation_file: job.validationFile,
    hyperparameters,
    method: { type: "supervised", supervised: { hyperparameters } },
    seed: job.seed,
    trained_tokens: job.trainedTokens,
    result_files: job.resultFiles,
    integrations: [],
    metadata: job.metadata,
    error: job.error,
  };
}

export function eventAnswer(row: EventRow): EventObject {
  return {
    id: row.id,
    object: "fine_tuning.job.event",
    created_at: row.created_at,
    level: row.level,
    message: row.message,
    type: row.type,
    data: row.data === null ? null : JSON.parse(row.data),
  };
}

export function checkpointAnswer(row: CheckpointRow): CheckpointObject {
  return {
    id: row.id,
    object: "fine_tuning.job.checkpoint",
    created_at: row.created_at,
    fine_tuned_model_checkpoint: row.model,
    fine_tuning_job_id: row.job_id,
    step_number: row.step,
    metrics: JSON.parse(row.metrics),
  };
}

export function fileAnswer(row: FileRow): FileObject {
  const { id, bytes, created_at, filename, expires_at } = row;
  const purpose = row.purpose as FileObject["purpose"];
  const expiry = expires_at === null ? {} : { expires_at };
  return { id, object: "file", bytes, created_at, ...expiry, filename, purpose, status: "processed" };
}

/** A page as OpenAI's clients read it. */
export function listAnswer<T, A extends { readonly id: string }>(
  { rows, hasMore }: Page<T>,
  answer: (row: T) => A,
): object {
  const data = rows.map(answer);
  return {
    object: "list",
    data,
    has_more: hasMore,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
  };
}
