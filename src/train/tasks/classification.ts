import { withClassifier } from "../../models/new-head.ts";
import { classification } from "../../objectives/classification.ts";
import { encoderTask } from "./encoder-task.ts";
import { classNames } from "./labels.ts";
import type { Task } from "./task.ts";

/** Telling classes apart, by an encoder. */
export const classificationTask: Task = {
  ...encoderTask,
  name: "classification",
  summary: "tell the classes of texts or pairs of texts apart",
  objective: classification,
  suits: () => true,
  prepare: (base, { train }, { labels, seed }) =>
    withClassifier(base, { labels: classNames(train, base, labels), kind: "classes" }, seed),
};
