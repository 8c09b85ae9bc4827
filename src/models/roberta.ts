import { tanh } from "../graph/ops/index.ts";
import { bertForward, bertModules } from "./bert.ts";
import { encoderOf, type Family } from "./family.ts";
import { headLinear } from "./layers.ts";

/** RoBERTa (Liu et al. 2019): bert, with positions that count from the padding id + 1, which the config says. Head:
 *  out(tanh(dense(first token))). */
export const roberta: Family = {
  name: "roberta",
  modules: (c) => [
    ...bertModules(c),
    headLinear("classifier.dense", c.hiddenSize, c.hiddenSize),
    { ...headLinear("classifier.out", c.hiddenSize, encoderOf(c).classifier.labels.length), isOutput: true },
  ],
  forward: bertForward,
  logits: (ctx, hidden) => ctx.linear("classifier.out", tanh(ctx.linear("classifier.dense", hidden))),
};
