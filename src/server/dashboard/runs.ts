import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { readEntries } from "../../io/folder.ts";
import { requireInside } from "../../io/inside.ts";
import { CONFIG_FILE } from "../../train/config/file.ts";
import { isRunHeld } from "../../train/lock.ts";
import { METRICS_FILE, type MetricsEvent, readMetrics } from "../../train/metrics-log.ts";
import { smooth, thin } from "../../train/report/curve.ts";
import { readRunFacts } from "./run-files.ts";
import type { CurvePoint, RunCurve, RunInfo } from "./shapes.ts";

/** Runs that are listed. */
const MOST_RUNS = 50;

/** A run folder that was found. */
interface FoundRun {
  readonly id: string;
  readonly folder: string;
  readonly changedMs: number;
  readonly version: string;
}

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

/** Runs below the folders of a server, by what their folders hold: whoever writes them need not be asked. */
export interface RunReader {
  list(): Promise<{ readonly runs: RunInfo[]; readonly leftOut: number }>;
  /** Loss curves; null where no such run is listed. */
  curve(id: string): Promise<RunCurve | null>;
}

export function createRunReader(folders: readonly string[]): RunReader {
  const logs = new Map<string, Promise<ReadLog>>();

  /** A log is read anew when it has changed, by one of those who ask at a time. */
  const logOf = async (run: FoundRun): Promise<ReadLog> => {
    const before = await logs.get(run.id);
    if (before && (before.version === run.version || performance.now() < before.nextMs)) return before;
    const now = readLog(run);
    logs.set(run.id, now);
    return now;
  };
  const listed = async (): Promise<{ found: FoundRun[]; leftOut: number }> => {
    const all = await findRuns(folders);
    const found = all.slice(0, MOST_RUNS);
    for (const id of logs.keys()) if (!found.some((run) => run.id === id)) logs.delete(id);
    return { found, leftOut: all.length - found.length };
  };

  return {
    list: async () => {
      const { found, leftOut } = await listed();
      const runs: RunInfo[] = [];
      for (const run of found) runs.push(await infoOf(run, await logOf(run)));
      const isRunning = ({ state }: RunInfo): number => (state === "running" ? 0 : 1);
      return { runs: runs.sort((a, b) => isRunning(a) - isRunning(b)), leftOut };
    },
    curve: async (id) => {
      const run = (await listed()).found.find((one) => one.id === id);
      if (run === undefined) return null;
      const facts = await readRunFacts(run.folder);
      return curveOf(run, (await logOf(run)).events, facts?.lossUnit ?? "");
    },
  };
}

/** Run folders, the one that changed last first: those below a folder, or the folder itself. */
async function findRuns(folders: readonly string[]): Promise<FoundRun[]> {
  const found: FoundRun[] = [];
  for (const [k, folder] of folders.entries()) {
    const own = await runAt(`${k}/`, folder);
    if (own !== null) found.push(own);
    for (const { name } of await readEntries(folder).catch(() => [])) {
      const isInside = await requireInside(folder, name).then(
        () => true,
        () => false,
      );
      const run = isInside ? await runAt(`${k}/${name}`, join(folder, name)) : null;
      if (run !== null) found.push(run);
    }
  }
  return found.sort((a, b) => b.changedMs - a.changedMs);
}

async function runAt(id: string, folder: string): Promise<FoundRun | null> {
  const [config, log] = await Promise.all(
    [CONFIG_FILE, METRICS_FILE].map((name) => stat(join(folder, name)).catch(() => null)),
  );
  if (!config?.isFile()) return null;
  const changedMs = Math.max(config.mtimeMs, log?.mtimeMs ?? 0);
  return { id, folder, changedMs, version: `${log?.size ?? 0}-${changedMs}` };
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
  const last = events.filter((event) => event.type === "step").at(-1);
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
