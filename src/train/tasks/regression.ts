import { numberOf } from "../../data/labels.ts";
import { encoderOf } from "../../models/family.ts";
import { withClassifier } from "../../models/new-head.ts";
import { regression } from "../../objectives/regression.ts";
import { encoderTask } from "./encoder-task.ts";
import { labelsOf } from "./labels.ts";
import type { Task } from "./task.ts";

/** Giving texts a value, by an encoder. */
export const regressionTask: Task = {
  ...encoderTask,
  name: "regression",
  summary: "give texts or pairs of texts a value",
  objective: regression,
  suits: (rows, { config, newWeights }) => {
    let [count, areWhole] = [0, true];
    for (const label of labelsOf(rows)) {
      const number = numberOf(label);
      if (number === null) return false;
      count++;
      areWhole &&= Number.isInteger(number);
    }
    const isValueHead = newWeights.length === 0 && encoderOf(config).classifier.kind === "value";
    return count > 0 && (isValueHead || !areWhole);
  },
  prepare: (base, _dataset, { seed }) => {
    const { labels, kind } = encoderOf(base.config).classifier;
    return withClassifier(base, { labels: kind === "value" ? labels : ["LABEL_0"], kind: "value" }, seed);
  },
};
