import type { Rows } from "../../data/examples.ts";
import { UnsupportedError } from "../../errors.ts";
import type { BaseModel } from "../../models/base-model.ts";
import { classification } from "./classification.ts";
import { languageModelling } from "./language-modelling.ts";
import { regression } from "./regression.ts";
import type { Task } from "./task.ts";

/** Every task, one line each; of those that fit a model, the first that suits the data is taken. */
const TASKS: readonly Task[] = [languageModelling, regression, classification];

/** Names of all tasks, for help and errors. */
export const TASK_NAMES: readonly string[] = TASKS.map((t) => t.name);

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
  if (kind === undefined) return languageModelling;
  return kind === "value" ? regression : classification;
}
