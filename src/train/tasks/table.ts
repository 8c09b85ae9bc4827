import { z } from "zod";
import type { Rows } from "../../data/rows.ts";
import { UnsupportedError } from "../../errors.ts";
import type { BaseModel } from "../../models/base.ts";
import { type SettingsOf, setting } from "../../options/setting.ts";
import { names } from "../../options/values.ts";
import { classificationTask } from "./classification.ts";
import { languageModellingTask } from "./language-modelling.ts";
import { regressionTask } from "./regression.ts";
import type { Task } from "./task.ts";

/** Every task, one line each; of those that fit a model, the first that suits the data is taken. */
const TASKS: readonly Task[] = [languageModellingTask, regressionTask, classificationTask];

/** Names of all tasks, for help and errors. */
export const TASK_NAMES: readonly string[] = TASKS.map((t) => t.name);

/** What to train for. */
export interface TaskOptions {
  /** null: what model and data call for. */
  readonly task: string | null;
  /** Names of the classes, in the order of their numbers; null: the model's, else those in the data. */
  readonly labels: readonly string[] | null;
}

export const taskSettings: SettingsOf<TaskOptions> = {
  task: setting(z.enum(TASK_NAMES).nullable(), null, {
    group: "Model",
    description: "what to train for",
    defaultText: "what model and data call for",
    knownAs: ["taskType"],
  }),
  labels: setting(names.nullable(), null, {
    group: "Data",
    value: "names",
    description: "names of the classes, in the order of their numbers",
    defaultText: "the model's, else those in the data",
    expects: "a list of names",
    knownAs: ["labelNames", "labelList", "classNames"],
  }),
};

/** The task of that name, or (null) the one that model and data call for.
 *  @throws UnsupportedError if the model cannot be trained for it */
export function taskFor(name: string | null, base: BaseModel, rows: Rows): Task {
  const fitting = TASKS.filter((t) => t.fits(base));
  const chosen = fitting.find((t) => (name === null ? t.suits(rows, base) : t.name === name));
  if (chosen) return chosen;
  throw new UnsupportedError(
    `${base.config.architecture} cannot be trained for ${name ?? "any task"}; it can for: ${fitting.map((t) => t.name).join(", ")}`,
  );
}

/** The task that a model with its head is for. */
export function taskOf({ config }: Pick<BaseModel, "config">): Task {
  const kind = config.encoder?.classifier.kind;
  if (kind === undefined) return languageModellingTask;
  return kind === "value" ? regressionTask : classificationTask;
}
