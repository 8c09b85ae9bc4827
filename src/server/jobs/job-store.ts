import type { TrainConfig } from "../../train/config/config.ts";
import type { ProcessIdentity } from "../../train/process.ts";
import type { Database, SqlValue } from "./database.ts";
import { newId, nowSeconds, type Page, type PageRequest, pageOf } from "./paging.ts";

export const STATUSES = ["queued", "running", "paused", "succeeded", "failed", "cancelled"] as const;

export type JobStatus = (typeof STATUSES)[number];

/** Why a job failed. */
export interface JobError {
  readonly code: string;
  readonly message: string;
  readonly param: string | null;
}

/** What a job does, in OpenAI's terms. */
export interface Hyperparameters {
  readonly batch_size: number;
  readonly learning_rate_multiplier: number;
  readonly n_epochs: number;
}

/** A fine-tuning job. Times are seconds since 1970. */
export interface Job {
  readonly id: string;
  /** Name of the base. */
  readonly model: string;
  readonly suffix: string | null;
  readonly status: JobStatus;
  readonly trainingFile: string;
  readonly validationFile: string | null;
  readonly config: TrainConfig;
  readonly hyperparameters: Hyperparameters;
  readonly seed: number;
  readonly metadata: Readonly<Record<string, string>> | null;
  readonly createdAt: number;
  readonly finishedAt: number | null;
  readonly estimatedFinish: number | null;
  readonly trainedTokens: number | null;
  readonly fineTunedModel: string | null;
  /** Ids of files with its measures. */
  readonly resultFiles: readonly string[];
  /** When its model, checkpoints and run folder were deleted. */
  readonly deletedAt: number | null;
  readonly error: JobError | null;
  /** The process that trains, or trained when its server ended. */
  readonly process: ProcessIdentity | null;
}

export type NewJob = Pick<
  Job,
  | "id"
  | "model"
  | "suffix"
  | "trainingFile"
  | "validationFile"
  | "config"
  | "hyperparameters"
  | "seed"
  | "metadata"
>;

type Changes = Partial<
  Pick<
    Job,
    | "finishedAt"
    | "estimatedFinish"
    | "trainedTokens"
    | "fineTunedModel"
    | "resultFiles"
    | "deletedAt"
    | "error"
    | "process"
  >
>;

/** Jobs, and which request made which. */
export interface JobStore {
  add(job: NewJob, request: { readonly key: string; readonly bodyHash: string } | null): Job;
  get(id: string): Job | null;
  list(page: PageRequest, metadata: Readonly<Record<string, string>>): Page<Job>;
  withStatus(...statuses: JobStatus[]): readonly Job[];
  withProcess(): readonly Job[];
  /** Those whose model and run folder were deleted. */
  deleted(): readonly Pick<Job, "id">[];
  countOf(status: JobStatus): number;
  /** The job that a request made; null where there was none of this key. */
  ofRequest(key: string): { readonly jobId: string; readonly bodyHash: string } | null;
  update(id: string, changes: Changes): void;
  /** Whether the job had one of the statuses, and so has the new one now. */
  move(id: string, from: readonly JobStatus[], to: JobStatus, changes?: Changes): boolean;
  /** Whether a job that has not ended needs the file. */
  usesFile(fileId: string): boolean;
}

const ENDED: readonly JobStatus[] = ["succeeded", "failed", "cancelled"];

/** Whether nothing more happens to a job of this status. */
export function isEnded(status: JobStatus): boolean {
  return ENDED.includes(status);
}

export function jobStore(db: Database): JobStore {
  const get = (id: string): Job | null => {
    const row = db.one<JobRow>("SELECT * FROM jobs WHERE id = ?", id);
    return row && jobOf(row);
  };
  return {
    get,
    add: (job, request) =>
      db.transaction(() => {
        insertJob(db, job);
        if (request !== null)
          db.run(
            "INSERT INTO idempotency VALUES (?, ?, ?, ?)",
            request.key,
            request.bodyHash,
            job.id,
            nowSeconds(),
          );
        return get(job.id) as Job;
      }),
    list: (page, metadata) => {
      const pairs = Object.entries(metadata);
      const has = " AND EXISTS (SELECT 1 FROM json_each(jobs.metadata) WHERE key = ? AND value = ?)";
      const found = pageOf<JobRow>(
        db,
        "jobs",
        { sql: `1${has.repeat(pairs.length)}`, values: pairs.flat() },
        page,
      );
      return { rows: found.rows.map(jobOf), hasMore: found.hasMore };
    },
    withStatus: (...statuses) =>
      db
        .all<JobRow>(`SELECT * FROM jobs WHERE status IN (${marks(statuses)}) ORDER BY number`, ...statuses)
        .map(jobOf),
    withProcess: () => db.all<JobRow>("SELECT * FROM jobs WHERE process IS NOT NULL").map(jobOf),
    deleted: () => db.all("SELECT id FROM jobs WHERE deleted_at IS NOT NULL"),
    countOf: (status) =>
      db.one<{ n: number }>("SELECT count(*) AS n FROM jobs WHERE status = ?", status)?.n ?? 0,
    ofRequest: (key) =>
      db.one("SELECT job_id AS jobId, body_hash AS bodyHash FROM idempotency WHERE key = ?", key),
    update: (id, changes) => void change(db, id, {}, changes, []),
    move: (id, from, to, changes = {}) => change(db, id, { status: to }, changes, from) > 0,
    usesFile: (fileId) =>
      db.one(
        "SELECT id FROM jobs WHERE (training_file = ? OR validation_file = ?) AND status IN ('queued', 'running', 'paused')",
        fileId,
        fileId,
      ) !== null,
  };
}

/** An id for a job that is to be made: its folder is named by it. */
export function newJobId(): string {
  return newId("ftjob");
}

function insertJob(db: Database, job: NewJob): void {
  const columns: Record<string, SqlValue> = {
    id: job.id,
    model: job.model,
    suffix: job.suffix,
    status: "queued",
    training_file: job.trainingFile,
    validation_file: job.validationFile,
    config: JSON.stringify(job.config),
    hyperparameters: JSON.stringify(job.hyperparameters),
    seed: job.seed,
    metadata: jsonOrNull(job.metadata),
    created_at: nowSeconds(),
  };
  const names = Object.keys(columns);
  db.run(`INSERT INTO jobs (${names.join(", ")}) VALUES (${marks(names)})`, ...Object.values(columns));
}

const COLUMNS: { readonly [K in keyof Changes]-?: string } = {
  finishedAt: "finished_at",
  estimatedFinish: "estimated_finish",
  trainedTokens: "trained_tokens",
  fineTunedModel: "fine_tuned_model",
  resultFiles: "result_files",
  deletedAt: "deleted_at",
  error: "error",
  process: "process",
};

function change(
  db: Database,
  id: string,
  own: Readonly<Record<string, SqlValue>>,
  changes: Changes,
  from: readonly JobStatus[],
): number {
  const values: Record<string, SqlValue> = { ...own };
  for (const [key, value] of Object.entries(changes) as [keyof Changes, Changes[keyof Changes]][])
    values[COLUMNS[key]] = typeof value === "object" ? jsonOrNull(value) : (value as SqlValue);
  const sets = Object.keys(values).map((name) => `${name} = ?`);
  const guard = from.length === 0 ? "" : ` AND status IN (${marks(from)})`;
  return db.run(
    `UPDATE jobs SET ${sets.join(", ")} WHERE id = ?${guard}`,
    ...Object.values(values),
    id,
    ...from,
  );
}

const marks = (list: readonly unknown[]): string => list.map(() => "?").join(", ");

const jsonOrNull = (value: unknown): string | null =>
  value === null || value === undefined ? null : JSON.stringify(value);

interface JobRow {
  readonly id: string;
  readonly model: string;
  readonly suffix: string | null;
  readonly status: JobStatus;
  readonly training_file: string;
  readonly validation_file: string | null;
  readonly config: string;
  readonly hyperparameters: string;
  readonly seed: number;
  readonly metadata: string | null;
  readonly created_at: number;
  readonly finished_at: number | null;
  readonly estimated_finish: number | null;
  readonly trained_tokens: number | null;
  readonly fine_tuned_model: string | null;
  readonly result_files: string | null;
  readonly deleted_at: number | null;
  readonly error: string | null;
  readonly process: string | null;
}

function jobOf(row: JobRow): Job {
  const json = <T>(text: string | null): T | null => (text === null ? null : (JSON.parse(text) as T));
  return {
    id: row.id,
    model: row.model,
    suffix: row.suffix,
    status: row.status,
    trainingFile: row.training_file,
    validationFile: row.validation_file,
    config: JSON.parse(row.config) as TrainConfig,
    hyperparameters: JSON.parse(row.hyperparameters) as Hyperparameters,
    seed: row.seed,
    metadata: json(row.metadata),
    createdAt: row.created_at,
    finishedAt: row.finished_at,
    estimatedFinish: row.estimated_finish,
    trainedTokens: row.trained_tokens,
    fineTunedModel: row.fine_tuned_model,
    resultFiles: json(row.result_files) ?? [],
    deletedAt: row.deleted_at,
    error: json(row.error),
    process: json(row.process),
  };
}
