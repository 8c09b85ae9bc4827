import { createHash } from "node:crypto";
import type { Engine } from "../../generate/engine/engine.ts";
import { HttpError } from "../errors.ts";
import type { Log } from "../log.ts";
import { type JobContext, type JobSettings, newJob } from "./create.ts";
import { type DataFolder, openDataFolder } from "./data-folder.ts";
import { deleteExpired, deleteFile } from "./delete-files.ts";
import { deleteModel } from "./delete-model.ts";
import { isEnded, type Job } from "./job-store.ts";
import { defaultJobBytes } from "./memory.ts";
import { nowSeconds } from "./paging.ts";
import { jobPreviews, type PreviewJobs } from "./preview.ts";
import { published } from "./published.ts";
import { type JobQueue, jobQueue } from "./queue.ts";
import type { JobBody } from "./schema.ts";
import { MAX_FILE_BYTES } from "./upload.ts";

export interface JobsOptions extends JobSettings {
  readonly dataDir: string;
  /** Jobs at a time. */
  readonly maxJobs: number;
  /** Largest file that is taken; default 512 MiB. */
  readonly maxFileBytes?: number;
  /** From the order to stop a job to its end by force; default a minute. */
  readonly killAfterMs?: number;
  /** Memory that a job may take; default: its part of 70% of the machine's. */
  readonly jobBytes?: number;
}

/** Fine-tuning as a service. */
export interface Jobs {
  readonly folder: DataFolder;
  readonly queue: JobQueue;
  readonly maxFileBytes: number;
  /** The job of a request; the same request again, by its key, gives the same job. @throws HttpError */
  create(body: JobBody, idempotencyKey: string | null, signal: AbortSignal): Promise<Job>;
  readonly preview: PreviewJobs;
  /** @throws HttpError 404 */
  get(id: string): Job;
  /** @throws HttpError 404, 400 where the job has ended otherwise */
  cancel(id: string): Job;
  pause(id: string): Job;
  resume(id: string): Job;
  /** Forgets a file. @throws HttpError 404, 409 where a job needs it */
  deleteFile(id: string): Promise<void>;
  /** Deletes what a job has made, by the name of its model or of a checkpoint. Returns whether there was such a model.
   *  @throws HttpError 409 while the job has not ended */
  deleteModel(name: string): Promise<boolean>;
  /** Stops what runs, with checkpoints; it goes on when the folder is opened again. */
  close(): Promise<void>;
}

const KILL_AFTER_MS = 60_000;

/** Opens a folder of jobs: adapters of finished ones become models, interrupted ones wait for the queue to `wake`.
 *  @throws LowrankError */
export async function openJobs(options: JobsOptions, engine: Engine, log: Log): Promise<Jobs> {
  const { baseName, maxJobs, maxFileBytes = MAX_FILE_BYTES, killAfterMs = KILL_AFTER_MS } = options;
  const limitBytes = options.jobBytes ?? defaultJobBytes(maxJobs);
  const folder = await openDataFolder(options.dataDir);
  try {
    const adapters = published(folder, engine, baseName, log);
    await adapters.all();
    const queue = jobQueue({ folder, published: adapters, baseName, maxJobs, killAfterMs, limitBytes, log });
    await queue.open();
    const context = { ...options, base: engine.base, limitBytes };
    const stopExpiry = deleteExpired(folder, log);
    return {
      ...actions(folder, queue, context),
      close: async () => {
        await stopExpiry();
        await queue.close();
        await folder.close();
      },
      deleteModel: (name) => deleteModel(name, { folder, engine, isActive: queue.isActive }),
      ...{ folder, queue, maxFileBytes },
    };
  } catch (error) {
    await folder.close();
    throw error;
  }
}

type Actions = Omit<Jobs, "folder" | "queue" | "maxFileBytes" | "deleteModel" | "close">;

function actions(folder: DataFolder, queue: JobQueue, settings: JobContext): Actions {
  const { jobs, events } = folder;
  const get = (id: string): Job => {
    const job = jobs.get(id);
    if (job !== null) return job;
    throw new HttpError(404, "job_not_found", `there is no fine-tuning job ${JSON.stringify(id)}`, {
      type: "not_found_error",
    });
  };
  const add = async (body: JobBody, request: KeyedRequest | null, signal: AbortSignal): Promise<Job> => {
    const job = await folder.holding([body.training_file, body.validation_file], async () =>
      jobs.add(await newJob(body, folder, settings, signal), request),
    );
    events.add(job.id, { message: `Created fine-tuning job: ${job.id}` });
    events.add(job.id, { message: "Files validated, moving job to queued state" });
    queue.wake();
    return get(job.id);
  };
  return {
    get,
    preview: jobPreviews(folder, settings),
    create: keyed(add, (key) => jobs.ofRequest(key), get),
    cancel: (id) => {
      const { status } = get(id);
      if (status === "cancelled") return get(id);
      if (!jobs.move(id, ["queued", "running", "paused"], "cancelled", { finishedAt: nowSeconds() }))
        throw wrongState(id, status, "cancelled");
      events.add(id, { message: "The job was cancelled" });
      queue.stop(id);
      return get(id);
    },
    pause: (id) => {
      const { status } = get(id);
      if (status === "paused") return get(id);
      if (!jobs.move(id, ["queued", "running"], "paused")) throw wrongState(id, status, "paused");
      events.add(id, { message: "The job was paused" });
      queue.stop(id);
      return get(id);
    },
    resume: (id) => {
      const { status } = get(id);
      if (status === "queued" || status === "running") return get(id);
      if (!jobs.move(id, ["paused"], "queued")) throw wrongState(id, status, "resumed");
      events.add(id, { message: "The job is queued to go on" });
      queue.wake();
      return get(id);
    },
    deleteFile: (id) => deleteFile(id, folder),
  };
}

function wrongState(id: string, status: Job["status"], what: string): HttpError {
  const state = isEnded(status) ? `has ended (${status})` : `is ${status}`;
  return new HttpError(400, "invalid_job_state", `the job ${id} ${state}: it cannot be ${what}`);
}

interface KeyedRequest {
  readonly key: string;
  readonly bodyHash: string;
}

type Create = Jobs["create"];

/** One job for a key, also where its requests come side by side: the later ones wait for the first. */
function keyed(
  add: (body: JobBody, request: KeyedRequest | null, signal: AbortSignal) => Promise<Job>,
  ofRequest: DataFolder["jobs"]["ofRequest"],
  get: (id: string) => Job,
): Create {
  const underWay = new Map<string, Promise<unknown>>();
  const create: Create = async (body, key, signal) => {
    if (key === null) return add(body, null, signal);
    const bodyHash = createHash("sha256").update(JSON.stringify(body)).digest("hex");
    while (underWay.has(key)) await underWay.get(key);
    const before = ofRequest(key);
    if (before?.bodyHash === bodyHash) return get(before.jobId);
    if (before !== null)
      throw new HttpError(409, "idempotency_key_reused", "Idempotency-Key: was used with another request");
    const adding = add(body, { key, bodyHash }, signal);
    const settled = adding.catch(() => undefined).finally(() => underWay.delete(key));
    underWay.set(key, settled);
    return adding;
  };
  return create;
}
