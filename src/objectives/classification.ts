import { crossEntropy, labelLogProbability } from "../graph/ops/index.ts";
import { encoderOf } from "../models/family.ts";
import { topIndex } from "../tensor/top-index.ts";
import type { Objective } from "./objective.ts";
import { classMeasures } from "./scores.ts";
import { collecting, sequenceRows } from "./sequence-rows.ts";

/** The likelihood of a text's class: the mean cross-entropy over examples. */
export const classification: Objective = {
  ...sequenceRows,
  name: "classification",
  lossUnit: "nats per example",
  logProbabilities: ({ logits, labels }) => labelLogProbability(logits, labels),
  loss: ({ logits, labels, weights }, smoothing) => crossEntropy(logits, labels, weights, smoothing),
  smooths: true,
  scorer: ({ config }) =>
    collecting((logits, labels) =>
      classMeasures(labels, logits.map(topIndex), encoderOf(config).classifier.labels.length),
    ),
};
