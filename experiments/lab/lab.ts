import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { evaluate, InputError, type TrainEvent, type TrainOptions, train } from "lowrank";
import type { PaperMethod } from "./methods.ts";
import type { Size } from "./sizes.ts";
import { addressOf, type CellStore } from "./store.ts";
import { REFERENCES, type TaskFiles } from "./tasks.ts";

/** A training run to be measured. */
export interface TrainRequest {
  readonly method: PaperMethod;
  /** Learning rate; default: the method's usual. */
  readonly rate?: number;
  /** Name of a task; default: the first. */
  readonly task?: string;
  readonly seed: number;
  /** Training examples; default: the size's. */
  readonly examples?: number;
  /** Passes over them; default: the size's. */
  readonly epochs?: number;
  /** Rows that it is measured on; default: test. Validation rows choose, test rows are for what was chosen. */
  readonly on?: "validation" | "test";
  /** Also answer prompts and score whole answers. */
  readonly answers?: boolean;
}

/** What a training run gave. */
export interface Trained {
  /** Nats per token on held-out rows. */
  readonly loss: number;
  /** Token accuracy, 0 to 1. */
  readonly accuracy: number;
  /** Of whole answers: exact match 0 to 1, BLEU and ROUGE-L 0 to 100 and 0 to 1; null where none were asked for. */
  readonly answers: { readonly exactMatch: number; readonly bleu: number; readonly rougeL: number } | null;
  readonly parameters: number;
  readonly share: number;
  readonly adapterBytes: number;
  /** Seconds in steps. */
  readonly seconds: number;
  /** Folder of the adapter, which is trained again where the folder has its numbers alone. */
  readonly adapter: () => Promise<string>;
}

/** A cell of the report. */
export interface CellRecord {
  readonly experiment: string;
  /** What it is, for people. */
  readonly label: string;
  readonly address: string;
  readonly key: unknown;
  readonly result: unknown;
  readonly seconds: number;
  /** The command that trains the same, where it is a training run. */
  readonly command: string | null;
}

/** Where cells are measured, each once: one that is finished is read. */
export interface Lab {
  readonly model: string;
  readonly seeds: readonly number[];
  /** Names of the tasks at hand; the first stands for all where one is enough. */
  readonly tasks: readonly string[];
  /** Cells are counted, not measured: results are NaN. */
  readonly isCounting: boolean;
  /** Files with the rows of a task; default: of the first. */
  filesOf(task?: string): TaskFiles;
  train(request: TrainRequest): Promise<Trained>;
  /** The base model alone, on a task's test rows. */
  base(task?: string): Promise<Measured>;
  /** Something else that is measured. `whatItIs` decides its address; `unknown` stands for its result while cells are counted.
   *  `units`: how long it takes, in training examples. */
  measured<T>(
    whatItIs: Readonly<Record<string, unknown>>,
    unknown: T,
    units: number,
    work: () => Promise<T>,
  ): Promise<T>;
}

/** What results follow from beside the options: part of every cell's key. */
export interface Origin {
  readonly lowrank: string;
  /** Of the base model's files. */
  readonly weights: string;
  /** Of what times are measured on. */
  readonly machine: string;
}

/** What a lab works with. */
export interface LabParts {
  readonly model: string;
  readonly origin: Origin;
  readonly size: Size;
  readonly store: CellStore;
  readonly tasks: ReadonlyMap<string, TaskFiles>;
  readonly signal: AbortSignal;
  readonly offline: boolean;
  /** Called as cells begin and end. */
  readonly onCell: (state: CellState) => void;
}

/** A cell that begins, or has ended. */
export interface CellState {
  readonly experiment: string;
  readonly address: string;
  readonly units: number;
  readonly label: string;
  readonly isDone: boolean;
  /** It was there already. */
  readonly isKept: boolean;
  readonly seconds: number;
}

const UNKNOWN: Trained = {
  loss: Number.NaN,
  accuracy: Number.NaN,
  answers: { exactMatch: Number.NaN, bleu: Number.NaN, rougeL: Number.NaN },
  parameters: Number.NaN,
  share: Number.NaN,
  adapterBytes: Number.NaN,
  seconds: Number.NaN,
  adapter: async () => "",
};

/** Folder of the adapter in that of its run. */
const ADAPTER = "adapter";
/** A run that is killed loses at most so many steps; each checkpoint of full fine-tuning is 2 GB. */
const CHECKPOINT_STEPS = 50;
/** Longest row in tokens, in training and in measuring. */
const MAX_LENGTH = 512;
/** What answering a row takes, in training examples. */
const ANSWER_UNITS = 2;
/** What opening a model takes, to train it and to measure it, in training examples. */
const START_UNITS = 20;
const OPEN_UNITS = 8;

/** What a cell is beside its key: how long it takes in training examples, what to call it, and how to train the same. */
interface CellInfo {
  readonly units: number;
  readonly label: string;
  readonly command?: string;
}

/** What training gives, and what is measured of it. */
type Measured = Pick<Trained, "loss" | "accuracy" | "answers">;
type Run = Omit<Trained, keyof Measured | "adapter">;

/** The options of a training run: everything that decides its result. */
function optionsOf(
  { method, rate, seed, examples, epochs }: TrainRequest,
  { model, size }: LabParts,
): TrainOptions {
  return {
    ...method.options,
    model,
    learningRate: rate ?? method.rate,
    schedule: "linear",
    warmupRatio: 0.06,
    weightDecay: 0.01,
    epochs: epochs ?? size.epochs,
    batchSize: size.batchSize,
    limit: examples ?? size.examples,
    maxLength: MAX_LENGTH,
    seed,
  };
}

/** The lab of an experiment. `records` collects its cells. */
export function openLab(
  experiment: { readonly name: string; readonly version: number },
  parts: LabParts,
  records: CellRecord[],
  isCounting: boolean,
): Lab {
  const { model, size, store, tasks, signal, offline, onCell } = parts;
  const { machine, ...origin } = parts.origin;
  const first = [...tasks.keys()][0] as string;
  const filesOf = (task: string = first): TaskFiles => {
    const files = tasks.get(task);
    if (!files)
      throw new InputError("the experiment cannot run", [
        { where: "task", message: `there is no task ${task}` },
      ]);
    return files;
  };
  const cell = async <T>(
    key: Readonly<Record<string, unknown>>,
    unknown: T,
    { units, label, command }: CellInfo,
    work: (folder: string) => Promise<T>,
  ): Promise<T> => {
    const address = addressOf({ ...key, ...origin });
    const state = { experiment: experiment.name, address, units, label };
    const kept = await store.read(address);
    if (kept) onCell({ ...state, isDone: true, isKept: true, seconds: kept.seconds });
    else onCell({ ...state, isDone: false, isKept: false, seconds: 0 });
    if (isCounting) return (kept?.result as T | undefined) ?? unknown;
    signal.throwIfAborted();
    const started = performance.now();
    const result = kept ? (kept.result as T) : await work(store.folderOf(address));
    const seconds = kept?.seconds ?? (performance.now() - started) / 1000;
    if (!kept) {
      await store.write(address, { key: { ...key, ...origin }, result, seconds });
      onCell({ ...state, isDone: true, isKept: false, seconds });
    }
    records.push({
      experiment: experiment.name,
      label,
      address,
      key: { ...key, ...origin },
      result,
      seconds,
      command: command ?? null,
    });
    return result;
  };
  /** Loss and answers of an adapter (null: of the base), each a cell of its own; `what` is what decides them, beside the rows. */
  const measureOn = async (
    {
      task,
      on,
      answers,
    }: { readonly task: string; readonly on: "validation" | "test"; readonly answers: boolean },
    what: Readonly<Record<string, unknown>>,
    label: string,
    adapter: (() => Promise<string>) | null,
  ): Promise<Measured> => {
    const files = filesOf(task);
    const common = async () => ({
      model,
      data: [files[on]],
      offline,
      signal,
      maxLength: MAX_LENGTH,
      ...(adapter && { adapter: await adapter() }),
    });
    const { lossRows, answerRows, maxTokens } = size;
    const { loss, accuracy } = await cell(
      { kind: "loss", ...what, data: files.digest, on, lossRows, maxLength: MAX_LENGTH },
      { loss: UNKNOWN.loss, accuracy: UNKNOWN.accuracy },
      {
        units: OPEN_UNITS + lossRows / 3,
        label: `${label}: loss${on === "validation" ? " to choose by" : ""}`,
      },
      async () => {
        const scores = await resultOf(evaluate({ ...(await common()), limit: lossRows }));
        return { loss: scores.loss, accuracy: scores.tokenAccuracy ?? Number.NaN };
      },
    );
    if (!answers) return { loss, accuracy, answers: null };
    const answered = await cell(
      { kind: "answers", ...what, data: files.digest, on, answerRows, maxTokens, maxLength: MAX_LENGTH },
      UNKNOWN.answers,
      { units: OPEN_UNITS + ANSWER_UNITS * answerRows, label: `${label}: answers` },
      async () => {
        const referencesField = files.hasReferences[on] ? REFERENCES : null;
        const asked = { limit: answerRows, generate: true, maxTokens, referencesField };
        const found = await resultOf(evaluate({ ...(await common()), ...asked }));
        const { exactMatch = Number.NaN, bleu = Number.NaN, rougeL = Number.NaN } = found;
        return { exactMatch, bleu, rougeL };
      },
    );
    return { loss, accuracy, answers: answered };
  };
  return {
    model,
    seeds: size.seeds,
    tasks: [...tasks.keys()],
    isCounting,
    filesOf,
    train: async (request) => {
      const { task = first, on = "test", answers = false, method, seed } = request;
      const files = filesOf(task);
      const options = optionsOf(request, parts);
      const key = { kind: "train", task, data: files.digest, options };
      const label = `${method.name}, ${task}, rate ${options.learningRate}, seed ${seed}`;
      const units = START_UNITS + (options.limit as number) * (options.epochs as number);
      const command = commandOf({ ...options, data: [files.train] });
      const address = addressOf({ ...key, ...origin });
      const folder = store.folderOf(address);
      const run = async (): Promise<Run> => {
        const whole = { ...options, data: [files.train], offline, checkpointEvery: CHECKPOINT_STEPS };
        const done = await trained(whole, folder, signal);
        await rm(join(folder, "checkpoints"), { recursive: true, force: true });
        return done;
      };
      const found = await cell<Run>(key, UNKNOWN, { units, label, command }, run);
      const adapter = async (): Promise<string> => {
        if (!(await readdir(folder).catch(() => [] as string[])).includes(ADAPTER)) await run();
        return join(folder, ADAPTER);
      };
      const what = { run: address, model };
      return { ...found, adapter, ...(await measureOn({ task, on, answers }, what, label, adapter)) };
    },
    base: (task = first) =>
      measureOn({ task, on: "test", answers: true }, { run: null, model }, `the base model, ${task}`, null),
    measured: (whatItIs, unknown, units, work) => {
      const { name, version } = experiment;
      const key = { kind: "measured", experiment: name, version, model, machine, ...whatItIs };
      return cell(key, unknown, { units, label: String(whatItIs.what ?? name) }, work);
    },
  };
}

async function resultOf(events: ReturnType<typeof evaluate>) {
  for await (const event of events) if (event.type === "result") return event;
  throw new Error("an evaluation ended without a result");
}

/** Trains in a folder, or goes on with what was begun there, and leaves the adapter alone. */
async function trained(options: TrainOptions, output: string, signal: AbortSignal): Promise<Run> {
  await mkdir(output, { recursive: true });
  const isBegun = (await readdir(output)).includes("run.json");
  if (!isBegun) await rm(output, { recursive: true, force: true });
  const run: TrainOptions = isBegun ? { resume: output } : { ...options, output, samples: 0 };
  const events: TrainEvent[] = [];
  for await (const event of train(run, { signal }))
    if (event.type !== "progress" && event.type !== "step") events.push(event);
  const plan = events.find((e) => e.type === "plan");
  const done = events.find((e) => e.type === "done");
  if (plan?.type !== "plan" || done?.type !== "done") {
    signal.throwIfAborted();
    throw new Error(`the run in ${output} ended without a result`);
  }
  return {
    parameters: plan.trainableParameters,
    share: plan.share,
    adapterBytes: plan.resources.adapterBytes,
    seconds: done.elapsedMs / 1000,
  };
}

/** The command line of a training run. */
function commandOf(options: TrainOptions): string {
  const flags = Object.entries(options)
    .filter(([, value]) => value !== undefined && value !== null && value !== false)
    .map(([key, value]) => {
      const flag = `--${key.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;
      return value === true
        ? flag
        : `${flag} ${quoted(Array.isArray(value) ? value.join(",") : String(value))}`;
    });
  return `lowrank train ${flags.join(" ")}`;
}

/** A word as a shell takes it. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
