import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { evaluate, InputError, type TrainEvent, type TrainOptions, train } from "lowrank";
import type { PaperMethod } from "./methods.ts";
import type { Size } from "./sizes.ts";
import { addressOf, type CellStore } from "./store.ts";
import type { TaskFiles } from "./tasks.ts";

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
  /** Folder of the adapter. */
  readonly adapter: string;
}

/** A cell of the report. */
export interface CellRecord {
  readonly experiment: string;
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
  train(request: TrainRequest): Promise<Trained>;
  /** The base model alone, on a task's test rows. */
  base(task?: string): Promise<Pick<Trained, "loss" | "accuracy" | "answers">>;
  /** Something else that is measured. `whatItIs` decides its address; `unknown` stands for its result while cells are counted.
   *  `units`: how long it takes, in training examples. */
  measured<T>(
    whatItIs: Readonly<Record<string, unknown>>,
    unknown: T,
    units: number,
    work: () => Promise<T>,
  ): Promise<T>;
}

/** What a lab works with. */
export interface LabParts {
  readonly model: string;
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
  adapter: "",
};

/** What answering a row takes, in training examples. */
const ANSWER_UNITS = 2;
/** What opening a model takes, in training examples. */
const START_UNITS = 20;

/** The options of a training run: everything that decides its result. */
function optionsOf({ method, rate, seed, examples }: TrainRequest, { model, size }: LabParts): TrainOptions {
  return {
    ...method.options,
    model,
    learningRate: rate ?? method.rate,
    schedule: "linear",
    warmupRatio: 0.06,
    weightDecay: 0.01,
    epochs: size.epochs,
    batchSize: size.batchSize,
    limit: examples ?? size.examples,
    maxLength: 512,
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
  const first = [...tasks.keys()][0] as string;
  const filesOf = (task: string): TaskFiles => {
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
    units: number,
    command: string | null,
    work: (folder: string) => Promise<T>,
  ): Promise<T> => {
    const address = addressOf(key);
    const label = labelOf(key);
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
      await store.write(address, { key, result, seconds });
      onCell({ ...state, isDone: true, isKept: false, seconds });
    }
    records.push({ experiment: experiment.name, address, key, result, seconds, command });
    return result;
  };
  const measureOn = async (
    files: TaskFiles,
    on: "validation" | "test",
    answers: boolean,
    adapter: string | null,
  ): Promise<Pick<Trained, "loss" | "accuracy" | "answers">> => {
    const common = {
      model,
      data: [files[on]],
      offline,
      signal,
      maxLength: 512,
      ...(adapter === null ? {} : { adapter }),
    };
    const scores = await resultOf(evaluate({ ...common, limit: size.lossRows }));
    const answered = answers
      ? await resultOf(
          evaluate({ ...common, limit: size.answerRows, generate: true, maxTokens: size.maxTokens }),
        )
      : null;
    return {
      loss: scores.loss,
      accuracy: scores.tokenAccuracy ?? Number.NaN,
      answers: answered && {
        exactMatch: answered.exactMatch ?? Number.NaN,
        bleu: answered.bleu ?? Number.NaN,
        rougeL: answered.rougeL ?? Number.NaN,
      },
    };
  };
  return {
    model,
    seeds: size.seeds,
    tasks: [...tasks.keys()],
    isCounting,
    train: (request) => {
      const { task = first, on = "test", answers = false } = request;
      const files = filesOf(task);
      const options = optionsOf(request, parts);
      const measuring = {
        on,
        lossRows: size.lossRows,
        ...(answers ? { answerRows: size.answerRows, maxTokens: size.maxTokens } : {}),
      };
      const key = { kind: "train", task, data: files.digest, name: request.method.name, options, measuring };
      const examples = (request.examples ?? size.examples) * size.epochs;
      const units =
        START_UNITS + examples + size.lossRows / 3 + (answers ? ANSWER_UNITS * size.answerRows : 0);
      const command = commandOf({ ...options, data: [files.train] });
      return cell<Trained>(
        key,
        { ...UNKNOWN, answers: answers ? UNKNOWN.answers : null },
        units,
        command,
        async (folder) => {
          const run = await trained({ ...options, data: [files.train], offline }, folder, signal);
          return { ...run, ...(await measureOn(files, on, answers, run.adapter)) };
        },
      );
    },
    base: (task = first) => {
      const files = filesOf(task);
      const { lossRows, answerRows, maxTokens } = size;
      const key = {
        kind: "base",
        model,
        task,
        data: files.digest,
        measuring: { lossRows, answerRows, maxTokens },
      };
      const { loss, accuracy, answers } = UNKNOWN;
      const units = START_UNITS + lossRows / 3 + ANSWER_UNITS * answerRows;
      return cell(key, { loss, accuracy, answers }, units, null, () => measureOn(files, "test", true, null));
    },
    measured: (whatItIs, unknown, units, work) =>
      cell(
        { kind: "measured", experiment: experiment.name, version: experiment.version, model, ...whatItIs },
        unknown,
        units,
        null,
        work,
      ),
  };
}

async function resultOf(events: ReturnType<typeof evaluate>) {
  for await (const event of events) if (event.type === "result") return event;
  throw new Error("an evaluation ended without a result");
}

/** Trains in a folder, or goes on with what was begun there, and leaves the adapter alone. */
async function trained(
  options: TrainOptions,
  output: string,
  signal: AbortSignal,
): Promise<Pick<Trained, "parameters" | "share" | "adapterBytes" | "seconds" | "adapter">> {
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
  await rm(join(output, "checkpoints"), { recursive: true, force: true });
  return {
    parameters: plan.trainableParameters,
    share: plan.share,
    adapterBytes: plan.resources.adapterBytes,
    seconds: done.elapsedMs / 1000,
    adapter: done.adapterPath,
  };
}

function labelOf(key: Readonly<Record<string, unknown>>): string {
  const { kind, name, task, options, measuring, ...rest } = key as {
    kind: string;
    name?: string;
    task?: string;
    options?: TrainOptions;
    measuring?: { on?: string };
  };
  if (kind === "train")
    return `${name}, ${task}, rate ${options?.learningRate}, seed ${options?.seed}${measuring?.on === "validation" ? ", to choose" : ""}`;
  if (kind === "base") return `the base model, ${task}`;
  const { experiment: _e, version: _v, model: _m, ...own } = rest as Record<string, unknown>;
  return Object.entries(own)
    .map(([k, v]) => `${k} ${typeof v === "object" ? JSON.stringify(v) : v}`)
    .join(", ");
}

/** The command line of a training run. */
function commandOf(options: TrainOptions): string {
  const flags = Object.entries(options)
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([key, value]) => {
      const flag = `--${key.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;
      return `${flag} ${Array.isArray(value) ? value.join(",") : value}`;
    });
  return `lowrank train ${flags.join(" ")}`;
}
