import { mul, neg, reshape, square, sub, sumAll } from "../graph/ops/index.ts";
import type { Value } from "../graph/value.ts";
import type { Edges, Objective } from "./objective.ts";
import { valueMeasures } from "./scores.ts";
import { collecting, sequenceRows } from "./sequence-rows.ts";

/** (prediction − target)², [E]. */
function squaredErrors({ logits, targets, weights }: Edges): Value {
  return square(sub(reshape(logits, weights.shape), targets));
}

/** The likelihood of a text's value under a normal distribution of variance ½ around the prediction, up to a constant: the mean
 *  squared error over examples. */
export const regression: Objective = {
  ...sequenceRows,
  name: "regression",
  lossUnit: "mean squared error",
  logProbabilities: (edges) => neg(squaredErrors(edges)),
  loss: (edges) => sumAll(mul(edges.weights, squaredErrors(edges))),
  smooths: false,
  scorer: () =>
    collecting((logits, targets) =>
      valueMeasures(
        targets,
        logits.map((row) => row[0] as number),
      ),
    ),
};
