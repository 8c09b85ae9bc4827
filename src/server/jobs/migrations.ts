/** Changes of the tables by number, the first is 1. One that was released is never changed: a new one follows it. */
export const MIGRATIONS: readonly string[] = [
  `CREATE TABLE files (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    filename TEXT NOT NULL,
    extension TEXT NOT NULL,
    purpose TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER
  ) STRICT;
  CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    suffix TEXT,
    status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled')),
    training_file TEXT NOT NULL REFERENCES files (id),
    validation_file TEXT REFERENCES files (id),
    config TEXT NOT NULL,
    hyperparameters TEXT NOT NULL,
    seed INTEGER NOT NULL,
    metadata TEXT,
    created_at INTEGER NOT NULL,
    finished_at INTEGER,
    estimated_finish INTEGER,
    trained_tokens INTEGER,
    fine_tuned_model TEXT,
    error TEXT,
    process TEXT
  ) STRICT;
  CREATE INDEX jobs_by_status ON jobs (status, number);
  CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    level TEXT NOT NULL,
    type TEXT NOT NULL,
    message TEXT NOT NULL,
    data TEXT
  ) STRICT;
  CREATE INDEX events_by_job ON events (job_id, number);
  CREATE TABLE checkpoints (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    step INTEGER NOT NULL,
    model TEXT NOT NULL,
    metrics TEXT NOT NULL,
    UNIQUE (job_id, step)
  ) STRICT;
  CREATE TABLE idempotency (
    key TEXT PRIMARY KEY,
    body_hash TEXT NOT NULL,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL
  ) STRICT`,
  `ALTER TABLE jobs ADD COLUMN result_files TEXT;
  ALTER TABLE jobs ADD COLUMN deleted_at INTEGER`,
  "ALTER TABLE files ADD COLUMN expires_at INTEGER",
];
