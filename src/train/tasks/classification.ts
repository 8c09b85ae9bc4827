import { topIndex } from "../../generate/predict.ts";
import { crossEntropy } from "../../graph/ops/index.ts";
import { encoderOf } from "../../models/family.ts";
import { withClassifier } from "../../models/new-head.ts";
import { classNames } from "./labels.ts";
import { classMeasures } from "./scores.ts";
import { collecting, sequences } from "./sequences.ts";
import type { Task } from "./task.ts";

/** Telling classes apart, by an encoder. */
export const classification: Task = {
  ...sequences,
  name: "classification",
  summary: "tell the classes of texts or pairs of texts apart",
  lossUnit: "nats per example",
  suits: () => true,
  prepare: (base, { train }, { labels, seed }) =>
    withClassifier(base, { labels: classNames(train, base, labels), kind: "classes" }, seed),
  loss: ({ logits, labels, weights }, smoothing) => crossEntropy(logits, labels, weights, smoothing),
  scorer: ({ config }) =>
    collecting((logits, labels) =>
      classMeasures(labels, logits.map(topIndex), encoderOf(config).classifier.labels.length),
    ),
};
