import { access } from "node:fs/promises";
import { join } from "node:path";
import type { Engine } from "../../generate/engine/engine.ts";
import { checkpointPath } from "../../train/checkpoint.ts";
import { adapterFolder } from "../../train/folder-store.ts";
import type { Log } from "../log.ts";
import type { DataFolder } from "./data-folder.ts";
import type { Job } from "./job-store.ts";
import { checkpointName, fineTunedName } from "./model-names.ts";

/** Adapters of jobs as models of an engine. */
export interface Published {
  /** The finished adapter of a job; returns its name. @throws what loading throws */
  adapter(job: Job): Promise<string>;
  /** The checkpoints of a job that are on disk; those that are no longer there are forgotten. */
  checkpoints(job: Job): Promise<void>;
  /** Everything that the jobs of this base have made: known by name, and read when it is asked for. */
  all(): Promise<void>;
}

export function published(folder: DataFolder, engine: Engine, baseName: string, log: Log): Published {
  const { events, jobs } = folder;
  const checkpoints = async (job: Job): Promise<void> => {
    for (const { id, step } of events.checkpointsOf(job.id)) {
      const [name, path] = [checkpointName(job, step), checkpointPath(folder.runPath(job.id), step)];
      const isLoaded = Object.hasOwn(engine.adapters, name);
      const isThere = await access(join(path, "trainer_state.json")).then(
        () => true,
        () => false,
      );
      if (!isThere) {
        events.removeCheckpoint(id);
        if (isLoaded) await engine.unloadAdapter(name);
      } else if (!isLoaded)
        // Read when it is asked for: those in use stay in memory.
        await engine.announceAdapter(name, path).catch((error: Error) => {
          log.warn("checkpoint_not_loaded", { job: job.id, step, reason: error.message });
        });
    }
  };
  const adapter = async (job: Job): Promise<string> => {
    const name = fineTunedName(job);
    await engine.loadAdapter(name, adapterFolder(folder.runPath(job.id)));
    log.info("adapter_loaded", { adapter: name });
    return name;
  };
  return {
    adapter,
    checkpoints,
    all: async () => {
      const known = jobs.withStatus("queued", "running", "paused", "succeeded", "failed", "cancelled");
      const own = known.filter(({ model, deletedAt }) => model === baseName && deletedAt === null);
      for (const job of own) {
        await checkpoints(job);
        if (job.status !== "succeeded") continue;
        const name = fineTunedName(job);
        await engine.announceAdapter(name, adapterFolder(folder.runPath(job.id))).catch((error: Error) => {
          log.error("adapter_failed", { adapter: name, reason: error.message });
        });
      }
    },
  };
}
