import { access, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CONFIG_FILE } from "../../train/config/file.ts";
import { processState } from "../../train/process.ts";
import type { Log } from "../log.ts";
import type { DataFolder } from "./data-folder.ts";
import type { Job, JobError } from "./job-store.ts";
import { nowSeconds } from "./paging.ts";
import { type JobProcess, type ProcessEnd, startProcess } from "./process.ts";
import { progressOf } from "./progress.ts";
import type { Published } from "./published.ts";
import { writeResults } from "./results.ts";

export interface QueueOptions {
  readonly folder: DataFolder;
  readonly published: Published;
  /** Only jobs of this base are run. */
  readonly baseName: string;
  /** Jobs at a time. */
  readonly maxJobs: number;
  /** From the order to stop to the end by force. */
  readonly killAfterMs: number;
  /** Memory that a job may take. */
  readonly limitBytes: number;
  readonly log: Log;
}

/** Runs jobs, the oldest first. */
export interface JobQueue {
  /** Jobs under way. */
  readonly running: number;
  /** Ends processes that outlived a server, and puts their jobs back. */
  open(): Promise<void>;
  /** What a stop waits for, as the log says it; nothing where no job runs. */
  stopping(): { readonly jobs?: number; readonly jobsWithinSeconds?: number };
  /** Starts what waits, as far as there is room. */
  wake(): void;
  /** Whether a process of the job may still write. */
  isActive(jobId: string): boolean;
  /** Stops the process of a job, if there is one. */
  stop(jobId: string): void;
  /** Stops what runs with a checkpoint; it goes on when the folder is opened again. */
  close(): Promise<void>;
}

/** A machine that is shut down stops jobs and server in any order. */
const SHUTDOWN_MS = 1000;
const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 60_000;

export function jobQueue(options: QueueOptions): JobQueue {
  const { folder, published, baseName, maxJobs, killAfterMs, limitBytes, log } = options;
  const { jobs, events } = folder;
  const active = new Map<string, { process: JobProcess | null; readonly over: Promise<void> }>();
  let isClosing = false;

  const wake = (): void => {
    if (isClosing) return;
    for (const job of jobs.withStatus("queued")) {
      if (active.size >= maxJobs) return;
      if (job.model !== baseName || active.has(job.id)) continue;
      start(job);
    }
  };
  const start = (job: Job): void => {
    const entry: { process: JobProcess | null; over: Promise<void> } = {
      process: null,
      over: Promise.resolve(),
    };
    active.set(job.id, entry);
    entry.over = runJob(job, (process) => {
      entry.process = process;
    })
      .catch((error) => log.error("job_failure", { job: job.id, reason: String(error) }))
      .finally(() => {
        active.delete(job.id);
        if (!isClosing) wake();
      });
  };

  const runJob = async (job: Job, onProcess: (process: JobProcess) => void): Promise<void> => {
    await folder.keepRoom();
    const isResumed = await hasBegun(folder.runPath(job.id));
    if (isClosing || !jobs.move(job.id, ["queued"], "running")) return;
    log.info("job_started", { job: job.id, resumed: isResumed });
    events.add(job.id, { message: isResumed ? "Fine-tuning job resumed" : "Fine-tuning job started" });
    // Loading is one after the other, and before the end of the job.
    let loading: Promise<void> = Promise.resolve();
    const progress = progressOf(job, folder, () => {
      loading = loading.then(() => published.checkpoints(job));
    });
    const process = startProcess({
      config: job.config,
      isResumed,
      killAfterMs,
      limitBytes,
      onStart: (identity) => jobs.update(job.id, { process: identity }),
      onEvent: progress.take,
    });
    onProcess(process);
    const end = await process.ended;
    await loading;
    await settle(job, end, progress.trainedTokens());
  };

  const settle = async (job: Job, end: ProcessEnd, trainedTokens: number | null): Promise<void> => {
    let write = (): void => jobs.update(job.id, { process: null });
    if (end.type === "failed") write = failing(job, end);
    if (end.type === "done") write = await finishing(job, trainedTokens);
    if (end.type === "stopped" && jobs.get(job.id)?.status === "running") {
      if (!isClosing) await delay(SHUTDOWN_MS);
      if (!isClosing) write = stopping(job);
    }
    await written(write, job);
  };

  const finishing = async (job: Job, trainedTokens: number | null): Promise<() => void> => {
    if (jobs.get(job.id)?.status === "cancelled") return () => jobs.update(job.id, { process: null });
    const failure = { type: "failed", code: "adapter_not_loaded" } as const;
    try {
      const fineTunedModel = await published.adapter(job);
      const results = await writeResults(job.id, folder).catch((error: Error) => {
        log.error("results_not_written", { job: job.id, reason: error.message });
        return null;
      });
      return () => {
        const resultFiles = results === null ? [] : [results.id];
        const changes = {
          fineTunedModel,
          trainedTokens,
          resultFiles,
          finishedAt: nowSeconds(),
          process: null,
        };
        if (!jobs.move(job.id, ["running", "paused"], "succeeded", changes)) return;
        if (results !== null) folder.files.add(results);
        events.add(job.id, {
          message: `New fine-tuned model created: ${fineTunedModel}`,
          data: { model: fineTunedModel },
        });
        events.add(job.id, { message: "The job has successfully completed" });
        log.info("job_succeeded", { job: job.id });
      };
    } catch (error) {
      const message = `the adapter is trained, but cannot be served: ${(error as Error).message}`;
      return failing(job, { ...failure, message });
    }
  };

  /** Without the server's folder, and what its owner would type. */
  const forClients = (message: string): string =>
    message.replaceAll(folder.path, "").replace(/ Then go on with: lowrank .*$/s, "");

  const failing =
    (job: Job, { code, message }: Pick<JobError, "code" | "message">) =>
    (): void => {
      const error = { code, message: forClients(message), param: null };
      jobs.update(job.id, { process: null });
      if (!jobs.move(job.id, ["running", "paused"], "failed", { error, finishedAt: nowSeconds() })) return;
      events.add(job.id, { level: "error", message: error.message, data: { code } });
      log.warn("job_failed", { job: job.id, code });
    };

  /** Cancelled and paused jobs have their status already. */
  const stopping = (job: Job) => (): void => {
    jobs.update(job.id, { process: null });
    if (jobs.move(job.id, ["running"], "paused"))
      events.add(job.id, {
        level: "warn",
        message: "The process of the job was stopped from outside; resume goes on with it",
      });
  };

  /** A disk that is full for a while leaves no job between two states. */
  const written = async (write: () => void, job: Job): Promise<void> => {
    for (let waitMs = 0; ; waitMs = Math.min(LONGEST_WAIT_MS, 2 * waitMs + FIRST_WAIT_MS))
      try {
        if (waitMs > 0) await delay(waitMs);
        return folder.atomically(write);
      } catch (error) {
        log.error("job_state", { job: job.id, reason: (error as Error).message });
        if (isClosing) return;
        await folder.makeRoom();
      }
  };

  return {
    get running() {
      return active.size;
    },
    stopping: () => (active.size === 0 ? {} : { jobs: active.size, jobsWithinSeconds: killAfterMs / 1000 }),
    wake,
    open: async () => {
      for (const job of jobs.withProcess()) {
        await endOrphan(job, killAfterMs, log);
        jobs.update(job.id, { process: null });
      }
      for (const { id } of jobs.withStatus("running")) jobs.move(id, ["running"], "queued");
      const others = jobs.withStatus("queued").filter(({ model }) => model !== baseName).length;
      if (others > 0) log.warn("jobs_of_other_bases", { waiting: others });
    },
    isActive: (jobId) => active.has(jobId),
    stop: (jobId) => active.get(jobId)?.process?.stop(),
    close: async () => {
      isClosing = true;
      for (const { process } of active.values()) process?.stop();
      await Promise.all([...active.values()].map(({ over }) => over));
    },
  };
}

/** Whether a run has written its options, which is what going on needs. What a run wrote before that is removed. */
async function hasBegun(runFolder: string): Promise<boolean> {
  const hasConfig = await access(join(runFolder, CONFIG_FILE)).then(
    () => true,
    () => false,
  );
  if (hasConfig) return true;
  const names = await readdir(runFolder).catch(() => []);
  for (const name of names.filter((one) => !/^lock\./.test(one)))
    await rm(join(runFolder, name), { recursive: true, force: true });
  return false;
}

const LOOK_MS = 100;

/** A process that outlived its server stops by itself: it is waited for, then ended. */
async function endOrphan({ id, process: identity }: Job, killAfterMs: number, log: Log): Promise<void> {
  if (identity === null || (await processState(identity)) !== "alive") return;
  log.warn("job_outlived_server", { job: id, pid: identity.pid });
  const deadline = performance.now() + killAfterMs;
  process.kill(identity.pid, "SIGINT");
  while ((await processState(identity)) === "alive") {
    if (performance.now() > deadline) process.kill(identity.pid, "SIGKILL");
    await delay(LOOK_MS);
  }
}
