import { numberOf } from "../../data/labels.ts";
import { mul, reshape, square, sub, sumAll } from "../../graph/ops/index.ts";
import { encoderOf } from "../../models/family.ts";
import { withClassifier } from "../../models/new-head.ts";
import { labelsOf } from "./labels.ts";
import { valueMeasures } from "./scores.ts";
import { collecting, sequences } from "./sequences.ts";
import type { Task } from "./task.ts";

/** Giving texts a value, by an encoder: the mean squared error. */
export const regression: Task = {
  ...sequences,
  name: "regression",
  summary: "give texts or pairs of texts a value",
  lossUnit: "mean squared error",
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
  loss: ({ logits, targets, weights }) =>
    sumAll(mul(weights, square(sub(reshape(logits, weights.shape), targets)))),
  scorer: () =>
    collecting((logits, targets) =>
      valueMeasures(
        targets,
        logits.map((row) => row[0] as number),
      ),
    ),
};
