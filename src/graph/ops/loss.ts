import { apply, compose, known, type Value } from "../value.ts";
import { add, exp, mul, neg, scale, sub } from "./arithmetic.ts";
import { cast } from "./cast.ts";
import { int64s, mean, sumAll } from "./reduce.ts";
import { reshape } from "./shape.ts";

/** log softmax over the last axis. Gradient: dy − eʸ·Σdy. */
export function logSoftmax(x: Value): Value {
  return apply("LogSoftmax", [x], x.shape, { axis: -1 }, (dy, y) => [sub(dy, mul(exp(y), sumLast(dy)))]);
}

function sumLast(x: Value): Value {
  return apply("ReduceSum", [x, int64s([x.shape.length - 1])], x.shape.with(-1, 1), { keepdims: 1 }, null);
}

function column(x: Value): Value {
  return reshape(x, [...x.shape, 1]);
}

function addAt(x: Value, indices: Value, updates: Value): Value {
  return apply("ScatterElements", [x, indices, updates], x.shape, { axis: -1, reduction: "add" }, null);
}

/** log p of each label: log probabilities [E, V], labels int32 [E, 1] → [E]. */
function picked(logp: Value, labels: Value): Value {
  const found = apply("GatherElements", [logp, labels], labels.shape, { axis: 1 }, null);
  return reshape(found, labels.shape.slice(0, 1));
}

/** log p of each label, in nats: logits [E, V], labels int32 [E] → [E]; not differentiable. */
export function labelLogProbability(logits: Value, labels: Value): Value {
  return picked(logSoftmax(logits), column(labels));
}

/** Σ_e weights[e] · CE(logits[e], labels[e]), in nats: logits [E, V], labels int32 [E], weights [E] → [].
 *  With label smoothing ε the target is (1−ε)·onehot + ε/V (Szegedy et al. 2016).
 *  dlogits = weights · (softmax − target), made in two passes over [E, V]. */
export function crossEntropy(logits: Value, labels: Value, weights: Value, smoothing = 0): Value {
  const vocab = known(logits.shape[1], "crossEntropy");
  const logp = logSoftmax(logits);
  const target = column(labels);
  const hard = neg(picked(logp, target));
  const each = smoothing === 0 ? hard : sub(scale(hard, 1 - smoothing), scale(mean(logp, [1]), smoothing));
  return compose([logits, weights], sumAll(mul(weights, each)), (dy) => {
    const w = column(mul(weights, dy));
    const soft = exp(logp);
    const p = smoothing === 0 ? soft : sub(soft, scale(onesLike(logp), smoothing / vocab));
    return [addAt(mul(p, w), target, scale(neg(w), 1 - smoothing)), mul(each, dy)];
  });
}

function onesLike(x: Value): Value {
  return apply("Exp", [scale(x, 0)], x.shape, {}, null);
}

/** 1 where no logit is above the label's, else 0: logits [E, V], labels int32 [E] → float32 [E]; not differentiable. */
export function topIsLabel(logits: Value, labels: Value): Value {
  const best = apply("ReduceMax", [logits, int64s([1])], labels.shape, { keepdims: 0 }, null);
  const isTop = apply("LessOrEqual", [best, picked(logits, column(labels))], labels.shape, {}, null, "bool");
  return cast(isTop, "float32");
}

/** Sum of terms. */
export function total(terms: readonly Value[]): Value {
  return terms.reduce((a, b) => add(a, b));
}
