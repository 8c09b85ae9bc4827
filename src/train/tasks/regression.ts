import { numberOf } from "../../data/labels.ts";
import { mul, reshape, square, sub, sumAll } from "../../graph/ops/index.ts";
import { encoderOf } from "../../models/family.ts";
import { withClassifier } from "../../models/new-head.ts";
import { labelledRows } from "./labels.ts";
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
    const numbers = labelledRows(rows).map(({ label }) => numberOf(label));
    if (numbers.length === 0 || numbers.includes(null)) return false;
    const isValueHead = newWeights.length === 0 && encoderOf(config).classifier.kind === "value";
    return isValueHead || !numbers.every((n) => Number.isInteger(n));
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
