import { join } from "node:path";
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS, LABELS_FILE } from "../formats/peft/files.ts";
import { writeLabels } from "../formats/peft/labels.ts";
import { writeTemplateArgs } from "../formats/peft/text.ts";
import { publicModelName } from "../hub/known-names.ts";
import { storing } from "../io/disk.ts";
import { bytesBelow } from "../io/folder.ts";
import { writeMethods } from "../peft/files/adapter.ts";
import { baseIdentityOf } from "../peft/model-shape.ts";
import { writeRunCard } from "./card.ts";
import { checkpointPath, loadCheckpoint, pruneCheckpoints, saveCheckpoint } from "./checkpoint.ts";
import type { DoneEvent, MeasuredResources, StoppedEvent } from "./events.ts";
import { exactMatchChange } from "./metrics-log.ts";
import type { RunPlan } from "./plan.ts";
import { startProfiling } from "./profile/take.ts";
import { writeReport } from "./report/report.ts";
import type { FinishedRun, RunStore } from "./run-store.ts";
import { saveSummary } from "./summary.ts";

/** A run's folder on disk: checkpoints, the adapter with its card, report and summary. */
export function folderStore(folder: string): RunStore {
  return {
    resumeHint: resumeCommand(folder),
    saveCheckpoint: (content, plan) =>
      saveCheckpoint(folder, content, (inside) => exportAdapter(plan, content.state.theta, inside)),
    prune: (options) => pruneCheckpoints(folder, options),
    loadState: async (step) => (await loadCheckpoint(checkpointPath(folder, step))).state,
    startProfiling: () => {
      const profiling = startProfiling(folder);
      return { ...profiling, finish: (engine) => storing(folder, () => profiling.finish(engine)) };
    },
    finish: (run) => finish(folder, run),
  };
}

/** Where the finished adapter lies in a run folder. */
export function adapterFolder(runFolder: string): string {
  return join(runFolder, "adapter");
}

/** The command that goes on with a run. */
export function resumeCommand(folder: string): string {
  const isPlain = /^[\p{L}\p{N}_./~:\\-]+$/u.test(folder);
  return `lowrank train --resume ${isPlain ? folder : `'${folder.replaceAll("'", `'\\''`)}'`}`;
}

/** A run that was interrupted, and how to go on with it; null where nothing was begun. */
export function interruptedEvent(step: number, folder: string | null): StoppedEvent {
  const resumeHint = folder === null ? null : resumeCommand(folder);
  return { type: "stopped", reason: "interrupt", step, resumeHint };
}

/** Writes the adapter of given parameters. */
async function exportAdapter({ model, base }: RunPlan, theta: Float32Array, folder: string): Promise<void> {
  await writeMethods(folder, model.methods, theta, publicModelName(base.source.name), baseIdentityOf(base));
  if (base.config.encoder) await writeLabels(folder, base.config.encoder.classifier);
  await writeTemplateArgs(folder, base.templateVariables.args);
}

async function finish(folder: string, run: FinishedRun): Promise<DoneEvent> {
  const { config, plan, planned, theta, savedStep } = run;
  const adapterPath = adapterFolder(folder);
  await exportAdapter(plan, theta, adapterPath);
  const exactMatch = await exactMatchChange(folder);
  const judged = { ...run.outcome, ...(exactMatch && { exactMatch }) };
  await writeRunCard(adapterPath, { config, plan, planned, outcome: judged });
  const measured = await measuredResources(adapterPath, checkpointPath(folder, savedStep));
  const outcome = { ...judged, adapterPath, measured };
  const reportPath = await storing(folder, () => writeReport(folder, { config, plan: planned, outcome }));
  const done: DoneEvent = { type: "done", ...outcome, reportPath };
  await storing(folder, () => saveSummary(folder, { plan: planned, done }));
  return done;
}

/** What a run has cost by now. Of the adapter, the files that load it count. */
async function measuredResources(adapterPath: string, checkpoint: string): Promise<MeasuredResources> {
  const isAdapter = (name: string): boolean => [ADAPTER_CONFIG, ADAPTER_WEIGHTS, LABELS_FILE].includes(name);
  return {
    peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
    adapterBytes: await bytesBelow(adapterPath, isAdapter),
    checkpointBytes: await bytesBelow(checkpoint),
  };
}
