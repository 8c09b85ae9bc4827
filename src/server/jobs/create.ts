import { randomInt } from "node:crypto";
import { InputError, type Problem } from "../../errors.ts";
import { shortName } from "../../hub/known-models.ts";
import type { Layer } from "../../options/setting.ts";
import {
  resolveTrainConfig,
  type TrainConfig,
  type TrainOptions,
  trainSettings,
} from "../../train/config/config.ts";
import { refusal } from "../body.ts";
import { HttpError } from "../errors.ts";
import { checkJob, type JobGround } from "./check-data.ts";
import type { DataFolder } from "./data-folder.ts";
import type { FileRow } from "./file-store.ts";
import { type Hyperparameters, type NewJob, newJobId } from "./job-store.ts";
import { RESULTS_PURPOSE } from "./results.ts";
import { type HyperparameterBody, type JobBody, RESERVED } from "./schema.ts";

/** What jobs of a server have in common. */
export interface JobSettings {
  /** Name of the base in requests. */
  readonly baseName: string;
  /** Model, device, threads and so on: what the server was started with. */
  readonly train: TrainOptions;
}

/** What jobs are made with. */
export interface JobContext extends JobSettings, JobGround {}

/** OpenAI's "auto". */
const AUTO: Hyperparameters = { batch_size: 8, learning_rate_multiplier: 1, n_epochs: 3 };

/** Checkpoints are models: those of a run of usual length stay. */
const KEPT_CHECKPOINTS = 10;

/** A job as a request asks for it, its files read to the end. @throws HttpError 400 with everything that is wrong, 404 */
export async function newJob(
  body: JobBody,
  folder: DataFolder,
  settings: JobContext,
  signal: AbortSignal,
): Promise<NewJob> {
  const job = uncheckedJob(body, folder, settings);
  await checkJob(job.config, settings, signal);
  return job;
}

/** A job as a request asks for it, its files not yet read. @throws HttpError 400 with everything that is wrong, 404 */
export function uncheckedJob(body: JobBody, folder: DataFolder, settings: JobSettings): NewJob {
  requireMethod(body);
  requireModel(body.model, settings);
  const training = requireFile(folder, "training_file", body.training_file);
  const validation = body.validation_file
    ? requireFile(folder, "validation_file", body.validation_file)
    : null;
  const id = newJobId();
  const asked = hyperparametersOf(body);
  const own = {
    seed: body.seed ?? randomInt(2 ** 31),
    name: body.suffix ?? id,
    data: [folder.filePath(training)],
    validationData: validation ? [folder.filePath(validation)] : null,
    output: folder.runPath(id),
  };
  const config = jobConfig(body, asked, { ...settings.train, ...own });
  return {
    id,
    model: settings.baseName,
    suffix: body.suffix ?? null,
    trainingFile: training.id,
    validationFile: validation?.id ?? null,
    config,
    hyperparameters: usedBy(config),
    seed: config.seed,
    metadata: body.metadata ?? null,
  };
}

function requireMethod({ method, hyperparameters }: JobBody): void {
  const type = method?.type ?? "supervised";
  if (type !== "supervised")
    throw new HttpError(
      400,
      "unsupported_method",
      `method.type: ${type} is not supported yet; supervised is`,
      {
        param: "method.type",
      },
    );
  const others = (["dpo", "reinforcement"] as const).filter((key) => (method?.[key] ?? null) !== null);
  const problems = others.map((key) => ({
    where: `method.${key}`,
    message: "has no effect with method.type supervised",
  }));
  if (hyperparameters && method?.supervised?.hyperparameters)
    problems.push({ where: "hyperparameters", message: "stands in method.supervised already" });
  if (problems.length > 0) throw refusal(problems);
}

function requireModel(model: string, { baseName }: JobSettings): void {
  if (shortName(model) === baseName) return;
  const message = `the model ${JSON.stringify(model)} cannot be fine-tuned here: this server has ${baseName}`;
  throw new HttpError(404, "model_not_found", message, { type: "not_found_error", param: "model" });
}

function requireFile(folder: DataFolder, param: string, id: string): FileRow {
  const file = folder.files.get(id);
  if (file !== null && file.purpose !== RESULTS_PURPOSE) return file;
  if (file !== null)
    throw new HttpError(400, "invalid_file_purpose", `${param}: ${id} holds the results of a job`, { param });
  throw new HttpError(400, "invalid_file_id", `${param}: there is no file ${JSON.stringify(id)}`, { param });
}

type Asked = { readonly [K in keyof Hyperparameters]: number | null };

/** What is asked for in numbers; null: auto, or nothing. */
function hyperparametersOf({ method, hyperparameters }: JobBody): Asked {
  const given: HyperparameterBody = method?.supervised?.hyperparameters ?? hyperparameters ?? {};
  const number = (key: keyof Hyperparameters): number | null => {
    const value = given[key] ?? "auto";
    return value === "auto" ? null : value;
  };
  return {
    batch_size: number("batch_size"),
    learning_rate_multiplier: number("learning_rate_multiplier"),
    n_epochs: number("n_epochs"),
  };
}

const DEFAULT_RATE: number = trainSettings.learningRate.parse(undefined);

/** Which option says the same as a hyperparameter. */
const SAME_AS = {
  batch_size: "batchSize",
  learning_rate_multiplier: "learningRate",
  n_epochs: "epochs",
} as const satisfies Record<keyof Hyperparameters, keyof TrainConfig>;

function jobConfig({ lowrank }: JobBody, asked: Asked, own: TrainOptions): TrainConfig {
  const given = lowrank ?? {};
  const problems: Problem[] = Object.keys(given)
    .filter((key) => Object.hasOwn(RESERVED, key))
    .map((key) => ({ where: `lowrank.${key}`, message: RESERVED[key] as string }));
  for (const [name, key] of Object.entries(SAME_AS) as [keyof Hyperparameters, string][])
    if (asked[name] !== null && Object.hasOwn(given, key))
      problems.push({ where: `lowrank.${key}`, message: `says the same as hyperparameters.${name}` });
  const free = Object.fromEntries(Object.entries(given).filter(([key]) => !Object.hasOwn(RESERVED, key)));
  const implied: TrainOptions = {
    samples: 0,
    onBadRow: "error",
    keepCheckpoints: KEPT_CHECKPOINTS,
    batchSize: asked.batch_size ?? AUTO.batch_size,
    learningRate: DEFAULT_RATE * (asked.learning_rate_multiplier ?? AUTO.learning_rate_multiplier),
    epochs: asked.n_epochs ?? AUTO.n_epochs,
    ...own,
  };
  return resolved(problems, [
    { values: free, where: (key) => `lowrank.${key}` },
    { values: implied, isImplied: true, where: (key) => key },
  ]);
}

/** The options of a run. @throws HttpError 400 with everything that is wrong */
function resolved(problems: readonly Problem[], layers: readonly Layer[]): TrainConfig {
  let config: TrainConfig | null = null;
  let found: readonly Problem[] = [];
  try {
    config = resolveTrainConfig(layers);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    found = error.problems;
  }
  if (config === null || problems.length + found.length > 0) throw refusal([...problems, ...found]);
  return config;
}

/** What a run does, in OpenAI's terms; a step takes the examples of all its micro-steps. */
function usedBy({ batchSize, accumulation, learningRate, epochs }: TrainConfig): Hyperparameters {
  return {
    batch_size: batchSize * accumulation,
    learning_rate_multiplier: Number((learningRate / DEFAULT_RATE).toPrecision(6)),
    n_epochs: epochs,
  };
}
