import type { CheckpointContent, KeepOptions } from "./checkpoint.ts";
import type { TrainConfig } from "./config/config.ts";
import type { DoneEvent, PlanEvent } from "./events.ts";
import type { RunPlan } from "./plan.ts";
import type { Profiling } from "./profile/take.ts";
import type { TrainState } from "./step.ts";

/** A run that is over. */
export interface FinishedRun {
  readonly config: TrainConfig;
  readonly plan: RunPlan;
  readonly planned: PlanEvent;
  /** The parameters that are kept. */
  readonly theta: Float32Array;
  /** Step of the newest checkpoint. */
  readonly savedStep: number;
  readonly outcome: Pick<DoneEvent, "steps" | "elapsedMs" | "bestStep" | "lossBefore" | "lossAfter">;
}

/** Where a run leaves what it makes: a folder on disk, or the page that it runs in. */
export interface RunStore {
  /** What goes on with the run; null where nothing does. */
  readonly resumeHint: string | null;
  /** Keeps a checkpoint, whole or not at all. Its place, for people. @throws LowrankError ("storage") */
  saveCheckpoint(content: CheckpointContent, plan: RunPlan): Promise<string>;
  /** Removes checkpoints that need not be kept. */
  prune(options: KeepOptions): Promise<void>;
  /** The state of a checkpoint that was kept. @throws FormatError if it is damaged */
  loadState(step: number): Promise<TrainState>;
  /** @throws UnsupportedError where profiles have no place */
  startProfiling(): Profiling;
  /** Keeps the adapter, and what tells of the run. @throws LowrankError ("storage") */
  finish(run: FinishedRun): Promise<DoneEvent>;
}
