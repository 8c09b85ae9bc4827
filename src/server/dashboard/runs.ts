import { basename, join } from "node:path";
import { isRunHeld } from "../../train/lock.ts";
import { type MetricsEvent, readMetrics } from "../../train/metrics-log.ts";
import { smooth, thin } from "../../train/report/curve.ts";
import { type FoundRun, findRuns, runAt } from "./found-runs.ts";
import { readRunFacts } from "./run-files.ts";
import type { CurvePoint, RunCurve, RunInfo } from "./shapes.ts";

/** Runs that are listed. */
const MOST_RUNS = 50;
/** Logs that are kept in memory: of the listed runs, and of as many jobs. */
const MOST_LOGS = 2 * MOST_RUNS;
const JOB_ID = /^ftjob-[0-9a-f]+$/;

/** What a log held when it was read last. */
interface ReadLog {
  readonly version: string;
  readonly events: readonly MetricsEvent[];
  /** When it may be read again, as `performance.now()` gives it. */
  readonly nextMs: number;
}

/** A log that takes longer to read is not read more than a twentieth of the time. */
const CHEAP_MS = 50;
const SHARE_OF_TIME = 1 / 20;

/** Runs of a server, by what their folders hold: whoever writes them need not be asked. */
export interface RunReader {
  /** Those below its folders, but for those of its jobs. */
  list(): Promise<{ readonly runs: RunInfo[]; readonly leftOut: number }>;
  /** That of a job; null where it has not begun. */
  ofJob(jobId: string): Promise<RunInfo | null>;
  /** Loss curves; null where there is no such run. */
  curve(id: string): Promise<RunCurve | null>;
}

/** Ids of the runs of jobs begin so, those of others with a number. */
const JOB = "job/";

/** `jobsFolder`: where the runs of jobs lie. */
export function createRunReader(folders: readonly string[], jobsFolder: string | null = null): RunReader {
  const logs = new Map<string, Promise<ReadLog>>();

  /** A log is read anew when it has changed, by one of those who ask at a time. */
  const logOf = async (run: FoundRun): Promise<ReadLog> => {
    const before = await logs.get(run.id);
    if (before && (before.version === run.version || performance.now() < before.nextMs)) return before;
    const now = readLog(run);
    // The one that was asked for last comes last.
    logs.delete(run.id);
    logs.set(run.id, now);
    for (const [id] of [...logs].slice(0, -MOST_LOGS)) logs.delete(id);
    return now;
  };
  const listed = async (): Promise<{ found: FoundRun[]; leftOut: number }> => {
    const all = await findRuns(folders, jobsFolder);
    const found = all.slice(0, MOST_RUNS);
    return { found, leftOut: all.length - found.length };
  };
  const runOfJob = async (jobId: string): Promise<FoundRun | null> =>
    jobsFolder === null || !JOB_ID.test(jobId) ? null : runAt(JOB + jobId, join(jobsFolder, jobId));
  const find = async (id: string): Promise<FoundRun | null> =>
    id.startsWith(JOB)
      ? runOfJob(id.slice(JOB.length))
      : ((await listed()).found.find((run) => run.id === id) ?? null);

  return {
    list: async () => {
      const { found, leftOut } = await listed();
      const runs: RunInfo[] = [];
      for (const run of found) runs.push(await infoOf(run, await logOf(run)));
      const isRunning = ({ state }: RunInfo): number => (state === "running" ? 0 : 1);
      return { runs: runs.sort((a, b) => isRunning(a) - isRunning(b)), leftOut };
    },
    ofJob: async (jobId) => {
      const run = await runOfJob(jobId);
      return run && infoOf(run, await logOf(run));
    },
    curve: async (id) => {
      const run = await find(id);
      if (run === null) return null;
      const facts = await readRunFacts(run.folder);
      return curveOf(run, (await logOf(run)).events, facts?.lossUnit ?? "");
    },
  };
}

async function readLog({ folder, version }: FoundRun): Promise<ReadLog> {
  const startMs = performance.now();
  const all = await readMetrics(folder).catch(() => []);
  const elapsedMs = performance.now() - startMs;
  // Samples are long and of no use here.
  const events = all.filter(({ type }) => type !== "samples");
  return { version, events, nextMs: elapsedMs < CHEAP_MS ? 0 : startMs + elapsedMs / SHARE_OF_TIME };
}

async function infoOf({ id, folder }: FoundRun, { events, version }: ReadLog): Promise<RunInfo> {
  const [facts, isHeld] = await Promise.all([readRunFacts(folder), isRunHeld(folder).catch(() => false)]);
  const steps = events.filter((event) => event.type === "step");
  const last = steps.at(-1);
  const state = isHeld ? "running" : facts?.isFinished ? "finished" : "stopped";
  return {
    id,
    name: basename(folder),
    state,
    method: facts?.method ?? null,
    model: facts?.model ?? null,
    data: facts?.data ?? null,
    step: last?.step ?? 0,
    steps: last?.steps ?? null,
    trainedTokens: steps.reduce((sum, { labelTokens }) => sum + labelTokens, 0),
    loss: finite(last?.loss),
    tokensPerSecond: finite(last?.tokensPerSecond),
    etaMs: state === "running" ? finite(last?.etaMs) : null,
    version: `${version}-${state}`,
  };
}

function curveOf({ id }: FoundRun, events: readonly MetricsEvent[], lossUnit: string): RunCurve {
  const steps = events.filter((event) => event.type === "step").filter(({ loss }) => Number.isFinite(loss));
  const smoothed = smooth(steps.map(({ loss }) => loss));
  const points = (losses: readonly number[]): readonly CurvePoint[] =>
    thin(steps.map(({ step }, i) => [step, losses[i] as number]));
  const heldOut = (split: string): readonly CurvePoint[] =>
    events
      .filter((event) => event.type === "evaluation")
      .filter((event) => event.split === split && Number.isFinite(event.loss))
      .map(({ step, loss }) => [step, loss]);
  return {
    id,
    lossUnit,
    training: points(steps.map(({ loss }) => loss)),
    smoothed: points(smoothed),
    validation: heldOut("validation"),
    test: heldOut("test"),
  };
}

function finite(value: number | undefined): number | null {
  return value !== undefined && Number.isFinite(value) ? value : null;
}
