import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type Environment,
  environment,
  InputError,
  lockRunFolder,
  type OnProgress,
  openBase,
  type Problem,
} from "lowrank";
import type { Experiment, Findings } from "./experiment.ts";
import { type CellRecord, type CellState, type LabParts, openLab } from "./lab/lab.ts";
import { SIZES, type Size } from "./lab/sizes.ts";
import { openStore, RESULTS, type ToldCell, toStored } from "./lab/store.ts";
import { type PaperTask, prepareTask, questionsIn, TASKS, type TaskFiles } from "./lab/tasks.ts";
import { csvOf } from "./page/csv.ts";
import { paperPage } from "./page/page.ts";
import { EXPERIMENTS } from "./table.ts";

/** What to measure. */
export interface PaperOptions {
  /** Default: "default". */
  readonly size?: Size["name"];
  /** Names of experiments; default: all. */
  readonly only?: readonly string[];
  /** Default: "smollm2-135m". */
  readonly model?: string;
  /** Prompts and answers of one's own, instead of the paper's tasks in small. */
  readonly data?: readonly string[];
  /** Which fields of its rows mean what, as `loadDataset` takes them. */
  readonly fields?: PaperTask["fields"];
  /** Folder with question classes (train.jsonl, test.jsonl; fields question and coarse), to compare the methods on as well. */
  readonly questions?: string;
  /** Folder of cells and report; default: "paper". Cells that are there are not measured again. */
  readonly output?: string;
  /** Never ask the network. */
  readonly offline?: boolean;
  readonly signal?: AbortSignal;
  /** Told of the model's download, before anything is measured. */
  readonly onProgress?: OnProgress;
}

/** What a run says. */
export type PaperEvent =
  | {
      readonly type: "plan";
      readonly size: Size;
      readonly experiments: readonly string[];
      readonly cells: number;
      /** Cells that are there already. */
      readonly kept: number;
    }
  | {
      readonly type: "cell";
      readonly experiment: string;
      readonly label: string;
      /** Cells that are done, this one among them if it has ended. */
      readonly done: number;
      readonly cells: number;
      readonly isDone: boolean;
      /** Milliseconds that the rest will take, from what measured cells took; null before there are any. */
      readonly etaMs: number | null;
    }
  | {
      readonly type: "experiment";
      readonly name: string;
      readonly title: string;
      readonly findings: Findings;
    }
  | {
      readonly type: "done";
      readonly report: string;
      readonly results: string;
      readonly tables: readonly string[];
    };

/** An experiment with what it found. */
export interface Measured {
  readonly experiment: Experiment;
  readonly findings: Findings;
}

/** Everything that the page and results.json tell. */
export interface PaperResults {
  readonly size: Size;
  readonly model: string;
  readonly tasks: readonly (PaperTask & { readonly digest: string })[];
  readonly environment: Omit<Environment, "cacheFolder">;
  readonly date: string;
  readonly measured: readonly Measured[];
  /** Titles of experiments that the run has not come to. */
  readonly missing: readonly string[];
  /** Cells of this run, and what an earlier report in the folder told beside them. */
  readonly cells: readonly (CellRecord | ToldCell)[];
}

/** @throws InputError for names of experiments that there are not */
function chosen(only: readonly string[] | undefined): readonly Experiment[] {
  if (only === undefined) return EXPERIMENTS;
  const problems = only
    .filter((name) => !EXPERIMENTS.some((e) => e.name === name))
    .map(
      (name): Problem => ({
        where: "only",
        message: `there is no experiment ${name}; there are ${EXPERIMENTS.map((e) => e.name).join(", ")}`,
      }),
    );
  if (problems.length > 0) throw new InputError("the experiments cannot be chosen:", problems);
  return EXPERIMENTS.filter(({ name }) => only.includes(name));
}

/** Measures the paper's claims and writes `report.html`, `results.json` and a CSV file per table. Cells are measured once: a run that
 *  was stopped goes on where it was.
 *  @throws InputError for options or data that cannot be used, and what training and evaluation throw */
export async function* runPaper(options: PaperOptions = {}): AsyncGenerator<PaperEvent> {
  const { model = "smollm2-135m", output = "paper", offline = false } = options;
  const signal = options.signal ?? new AbortController().signal;
  const size = SIZES[options.size ?? "default"];
  const experiments = chosen(options.only);
  const { onProgress } = options;
  const base = await openBase(model, { offline, signal, ...(onProgress && { onProgress }) }); // fetched once
  const { lowrank, cpu, cores } = await environment();
  const origin = { lowrank, weights: base.weights.fingerprint, machine: `${cpu}, ${cores} cores` };
  const store = await openStore(output);
  const release = await lockRunFolder(output);
  try {
    yield* measureAll(options, { model, origin, size, store, signal, offline }, experiments, output);
  } finally {
    await release();
  }
}

/** Everything that a run does in its folder, which no other uses meanwhile. */
async function* measureAll(
  { data, fields, questions }: PaperOptions,
  common: Omit<LabParts, "onCell" | "tasks">,
  experiments: readonly Experiment[],
  output: string,
): AsyncGenerator<PaperEvent> {
  const { model, size } = common;
  const tasks: readonly PaperTask[] =
    data === undefined
      ? [...TASKS.slice(0, size.tasks), ...(questions === undefined ? [] : [questionsIn(questions)])]
      : [{ name: "own", summary: data.join(", "), data, ...(fields && { fields }), score: "exactMatch" }];
  const files = new Map<string, TaskFiles>();
  for (const task of tasks) files.set(task.name, await prepareTask(task, output));
  const parts = { ...common, tasks: files };
  const plan = await count(experiments, parts);
  yield {
    type: "plan",
    size,
    experiments: experiments.map((e) => e.name),
    cells: plan.cells.size,
    kept: plan.kept,
  };
  const measured: Measured[] = [];
  const records: CellRecord[] = [];
  const described = tasks.map((task) => ({ ...task, digest: files.get(task.name)?.digest as string }));
  const date = new Date().toISOString().slice(0, 10);
  const { cacheFolder: _ofThisMachine, ...machine } = await environment();
  const about = { size, model, tasks: described, environment: machine, date };
  const save = (): Promise<PaperEvent> => {
    const missing = experiments.slice(measured.length).map(({ title }) => title);
    const cells = [...unique(records), ...others(common.store.told, records)];
    return write(output, { ...about, measured, missing, cells });
  };
  try {
    for (const experiment of experiments) {
      const before = plan.measured;
      const findings: Findings = yield* measuring(experiment, parts, plan, records);
      measured.push({ experiment, findings });
      yield { type: "experiment", name: experiment.name, title: experiment.title, findings };
      if (plan.measured > before && experiment !== experiments.at(-1)) await save();
    }
  } catch (error) {
    if (plan.measured > 0) await save();
    throw error;
  }
  yield await save();
}

/** How far a run is. */
interface Progress {
  /** Work units by cell. */
  readonly cells: Map<string, number>;
  readonly done: Set<string>;
  kept: number;
  /** Cells that were measured by this run, their units and seconds. */
  measured: number;
  units: number;
  seconds: number;
}

/** Runs the experiments without measuring, to know their cells. */
async function count(experiments: readonly Experiment[], parts: Omit<LabParts, "onCell">): Promise<Progress> {
  const progress: Progress = {
    cells: new Map(),
    done: new Set(),
    kept: 0,
    measured: 0,
    units: 0,
    seconds: 0,
  };
  for (const experiment of experiments) {
    const onCell = ({ address, units, isKept }: CellState): void => {
      progress.cells.set(address, units);
      if (isKept) progress.done.add(address);
    };
    await experiment.measure(openLab(experiment, { ...parts, onCell }, [], true), parts.size);
  }
  progress.kept = progress.done.size;
  return progress;
}

/** Milliseconds for what is left, from seconds per unit so far. */
function etaOf({ cells, done, units, seconds }: Progress): number | null {
  if (units === 0) return null;
  const left = [...cells].filter(([address]) => !done.has(address)).reduce((sum, [, n]) => sum + n, 0);
  return (left * seconds * 1000) / units;
}

async function* measuring(
  experiment: Experiment,
  parts: Omit<LabParts, "onCell">,
  progress: Progress,
  records: CellRecord[],
): AsyncGenerator<PaperEvent, Findings> {
  const queue: PaperEvent[] = [];
  let wake = (): void => undefined;
  const onCell = (state: CellState): void => {
    progress.cells.set(state.address, state.units);
    if (state.isDone && !progress.done.has(state.address)) {
      progress.done.add(state.address);
      progress.measured++;
      progress.units += state.units;
      progress.seconds += state.seconds;
    }
    if (state.isKept) return;
    const { experiment: name, label, isDone } = state;
    const cells = progress.cells.size;
    queue.push({
      type: "cell",
      experiment: name,
      label,
      done: progress.done.size,
      cells,
      isDone,
      etaMs: etaOf(progress),
    });
    wake();
  };
  let isOver = false;
  const work = experiment
    .measure(openLab(experiment, { ...parts, onCell }, records, false), parts.size)
    .finally(() => {
      isOver = true;
      wake();
    });
  work.catch(() => undefined); // thrown to whoever awaits it below
  for (;;) {
    const event = queue.shift();
    if (event) yield event;
    else if (isOver) return work;
    else
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (isOver || queue.length > 0) resolve();
      });
  }
}

/** Cells that several experiments share are told once for each. */
function unique(records: readonly CellRecord[]): CellRecord[] {
  const seen = new Map(records.map((r) => [`${r.experiment} ${r.address}`, r]));
  return [...seen.values()];
}

/** Cells of an earlier report in the folder that this run does not ask for: they are not lost. */
function others(told: readonly ToldCell[], records: readonly CellRecord[]): readonly ToldCell[] {
  const asked = new Set(records.map(({ address }) => address));
  return told.filter(({ address }) => !asked.has(address));
}

async function write(output: string, results: PaperResults): Promise<PaperEvent> {
  await mkdir(output, { recursive: true });
  const save = async (name: string, text: string): Promise<string> => {
    const path = join(output, name);
    await writeFile(`${path}.partial`, text);
    await rename(`${path}.partial`, path);
    return path;
  };
  const tables: string[] = [];
  for (const { findings } of results.measured)
    for (const table of findings.tables) tables.push(await save(`${table.name}.csv`, csvOf(table)));
  const plain = {
    ...results,
    measured: results.measured.map(({ experiment: { name, section, title, theirs, version }, findings }) => ({
      experiment: { name, section, title, theirs, version },
      findings,
    })),
  };
  const saved = await save(RESULTS, `${JSON.stringify(plain, toStored, 2)}\n`);
  const report = await save("report.html", await paperPage(results));
  return { type: "done", report, results: saved, tables };
}
