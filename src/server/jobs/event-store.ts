import type { Database } from "./database.ts";
import { newId, nowSeconds, type Page, type PageRequest, pageOf } from "./paging.ts";

/** What happened to a job. */
export interface EventRow {
  readonly id: string;
  readonly job_id: string;
  /** Seconds since 1970. */
  readonly created_at: number;
  readonly level: "info" | "warn" | "error";
  readonly type: "message" | "metrics";
  readonly message: string;
  /** JSON; null: none. */
  readonly data: string | null;
}

export type NewEvent = Pick<EventRow, "message"> &
  Partial<Pick<EventRow, "level" | "type">> & { readonly data?: Readonly<Record<string, unknown>> };

/** A checkpoint of a job that is on disk. */
export interface CheckpointRow {
  readonly id: string;
  readonly job_id: string;
  readonly created_at: number;
  readonly step: number;
  /** Name of its adapter. */
  readonly model: string;
  /** JSON. */
  readonly metrics: string;
}

/** Events and checkpoints of jobs. */
export interface EventStore {
  add(jobId: string, event: NewEvent): void;
  list(jobId: string, page: PageRequest): Page<EventRow>;
  /** Calls when an event is added, until the returned function is called. */
  onAdded(jobId: string, call: () => void): () => void;
  addCheckpoint(jobId: string, checkpoint: Pick<CheckpointRow, "step" | "model" | "metrics">): void;
  removeCheckpoint(id: string): void;
  removeCheckpointsOf(jobId: string): void;
  listCheckpoints(jobId: string, page: PageRequest): Page<CheckpointRow>;
  checkpointsOf(jobId: string): readonly CheckpointRow[];
}

export function eventStore(db: Database): EventStore {
  const watchers = new Map<string, Set<() => void>>();
  return {
    add: (jobId, { message, level = "info", type = "message", data }) => {
      const insert =
        "INSERT INTO events (id, job_id, created_at, level, type, message, data) VALUES (?, ?, ?, ?, ?, ?, ?)";
      const json = data === undefined ? null : JSON.stringify(data);
      db.run(insert, newId("ftevent"), jobId, nowSeconds(), level, type, message, json);
      for (const call of watchers.get(jobId) ?? []) call();
    },
    list: (jobId, page) => pageOf(db, "events", { sql: "job_id = ?", values: [jobId] }, page),
    onAdded: (jobId, call) => {
      const calls = watchers.get(jobId) ?? new Set();
      watchers.set(jobId, calls.add(call));
      return () => {
        calls.delete(call);
        if (calls.size === 0) watchers.delete(jobId);
      };
    },
    addCheckpoint: (jobId, { step, model, metrics }) => {
      // A run that goes on from an earlier checkpoint makes the later ones again.
      const insert =
        "INSERT INTO checkpoints (id, job_id, created_at, step, model, metrics) VALUES (?, ?, ?, ?, ?, ?) " +
        "ON CONFLICT (job_id, step) DO UPDATE SET metrics = excluded.metrics";
      db.run(insert, newId("ftckpt"), jobId, nowSeconds(), step, model, metrics);
    },
    removeCheckpoint: (id) => void db.run("DELETE FROM checkpoints WHERE id = ?", id),
    removeCheckpointsOf: (jobId) => void db.run("DELETE FROM checkpoints WHERE job_id = ?", jobId),
    listCheckpoints: (jobId, page) => pageOf(db, "checkpoints", { sql: "job_id = ?", values: [jobId] }, page),
    checkpointsOf: (jobId) =>
      db.all<CheckpointRow>("SELECT * FROM checkpoints WHERE job_id = ? ORDER BY step", jobId),
  };
}
