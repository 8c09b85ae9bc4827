import type { Engine } from "../../generate/engine/engine.ts";
import { storing } from "../../io/disk.ts";
import { checkpointPath } from "../../train/checkpoint.ts";
import { HttpError } from "../errors.ts";
import type { DataFolder } from "./data-folder.ts";
import { isEnded, type Job } from "./job-store.ts";
import { checkpointName, fineTunedName, partsOfName } from "./model-names.ts";
import { nowSeconds } from "./paging.ts";

/** What deleting works with. */
export interface DeletionMeans {
  readonly folder: DataFolder;
  readonly engine: Engine;
  /** Whether a process of the job may still write. */
  isActive(jobId: string): boolean;
}

/** Deletes what a job has made: by the name of its model the adapter, the checkpoints and the whole run folder (also of a job that has
 *  failed or was cancelled), by the name of a checkpoint that alone. From then on the name is nobody's; what a killed server had not
 *  removed from disk goes when the folder is opened again. Returns whether there was such a model.
 *  @throws HttpError 409 while the job has not ended */
export async function deleteModel(name: string, means: DeletionMeans): Promise<boolean> {
  const { folder } = means;
  const parts = partsOfName(name);
  const job = parts && folder.jobs.get(parts.jobId);
  if (!parts || !job || job.deletedAt !== null || fineTunedName(job) !== parts.model) return false;
  if (parts.step === null) {
    requireEnded(job, means);
    await deleteAll(job, means);
    return true;
  }
  const { step } = parts;
  const row = folder.events.checkpointsOf(job.id).find((one) => one.step === step);
  if (row === undefined) return false;
  requireEnded(job, means);
  await unload(checkpointName(job, step), means);
  // A server that is killed here finds no folder when it starts, and forgets the checkpoint.
  await discard(checkpointPath(folder.runPath(job.id), step), folder);
  folder.atomically(() => {
    folder.events.removeCheckpoint(row.id);
    folder.events.add(job.id, { message: `The checkpoint at step ${step} was deleted` });
  });
  return true;
}

async function deleteAll(job: Job, means: DeletionMeans): Promise<void> {
  const { folder } = means;
  const steps = folder.events.checkpointsOf(job.id).map(({ step }) => step);
  folder.atomically(() => {
    folder.jobs.update(job.id, { deletedAt: nowSeconds() });
    folder.events.removeCheckpointsOf(job.id);
    folder.events.add(job.id, {
      message: "The model, its checkpoints and the files of the run were deleted",
    });
  });
  for (const name of [fineTunedName(job), ...steps.map((step) => checkpointName(job, step))])
    await unload(name, means);
  await discard(folder.runPath(job.id), folder);
}

function requireEnded({ id, status }: Job, { isActive }: DeletionMeans): void {
  if (isEnded(status) && !isActive(id)) return;
  const state = isEnded(status) ? "is just ending" : `is ${status}`;
  throw new HttpError(
    409,
    "model_in_use",
    `the job ${id} ${state}: its models are deleted when it has ended`,
    {
      mayRetry: isEnded(status),
    },
  );
}

async function unload(name: string, { engine }: DeletionMeans): Promise<void> {
  if (Object.hasOwn(engine.adapters, name)) await engine.unloadAdapter(name);
}

async function discard(path: string, folder: DataFolder): Promise<void> {
  await storing(path, () => folder.discard(path));
}
