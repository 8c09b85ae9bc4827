import { gradients } from "../graph/gradients.ts";
import { add, concat, foldRows, gather, mul, reshape, sub, total } from "../graph/ops/index.ts";
import { apply, constant, type Dim, input, scalarConstant, type Value } from "../graph/value.ts";
import { batchAttention } from "../models/base-context.ts";
import { type AdamWOptions, adamw } from "../optim/adamw.ts";
import { clipByNorm, globalNorm } from "../optim/clip.ts";
import { type AdaptedModel, adaptedContext, forwardAdapted, trainablesOf } from "../peft/adapted-model.ts";
import type { MethodInputs, Trainable } from "../peft/method.ts";
import { parameterCount, viewsOf } from "../peft/parameters.ts";
import { floats, sizeOf } from "../tensor/tensor.ts";
import { languageModelling } from "./tasks/language-modelling.ts";
import type { Edges, Task } from "./tasks/task.ts";

/** Flat vector input [|Θ|]. */
function flat(name: string, model: AdaptedModel): Value {
  return input(name, "float32", [parameterCount(trainablesOf(model.methods))]);
}

/** Rows are padded to a multiple of this. */
export const BUCKET_TOKENS = 32;

/** Rows, tokens per row and edges per chunk of the batches a graph takes: numbers, or names where batches differ. */
export interface BatchDims {
  readonly R: Dim;
  readonly T: Dim;
  readonly E: Dim;
}

const ANY_BATCH: BatchDims = { R: "R", T: "T", E: "E" };

interface BatchGraph {
  readonly theta: Value;
  readonly inputs: MethodInputs;
  readonly edges: readonly Edges[];
}

/** Logits at the edges of a packed batch. The edges come in `chunks` equal parts, so that [E, V] is never whole. */
function batchLogits(model: AdaptedModel, training: boolean, chunks: number, dims: BatchDims): BatchGraph {
  const { R, T, E } = dims;
  const ids = input("tokens", "int32", [R, T]);
  const positions = input("positions", "int64", [R, T]);
  const ends = input("ends", "int32", [R, T]);
  const types = input("types", "int32", [R, T]);
  const columns = input("columns", "int32", [T]);
  const theta = flat("theta", model);
  const views = viewsOf(theta, trainablesOf(model.methods));
  const inputs: MethodInputs = {
    trainable: (name) => views.get(name) as Value,
    noise: training ? input("noise", "int32", [R, T, 1]) : null,
    ids,
  };
  const attend = batchAttention(model.config, { columns, ends, positions }, model.positionCount);
  const ctx = adaptedContext(model, inputs, attend);
  const hidden = foldRows(forwardAdapted(model, ctx, { ids, positions, types }, tableLength(model)));
  const edges = Array.from({ length: chunks }, (_, i): Edges => {
    const part = (name: string, dtype: "int32" | "float32"): Value => input(`${name}.${i}`, dtype, [E]);
    return {
      logits: model.family.logits(ctx, gather(hidden, part("edgeNodes", "int32"))),
      labels: part("edgeLabels", "int32"),
      targets: part("edgeTargets", "float32"),
      weights: part("edgeWeights", "float32"),
    };
  });
  return { theta, inputs, edges };
}

/** A row is padded to a bucket, and the runtime wants its rotary tables at least as long as the row. */
function tableLength(model: AdaptedModel): number {
  return Math.max(model.positionCount, Math.ceil(model.rowTokens / BUCKET_TOKENS) * BUCKET_TOKENS);
}

function lossOf({ edges }: BatchGraph, task: Task, smoothing: number): Value {
  return total(edges.map((chunk) => task.loss(chunk, smoothing)));
}

/** One micro-step: adds the gradient of `Σ edge losses · lossScale` to `gradient`. lossScale is 1 / (label tokens of the
 *  whole accumulation window), so that accumulation equals the big batch.
 *  Outputs: loss [] (already scaled), gradient.next [|Θ|]. */
export function gradientGraph(
  model: AdaptedModel,
  smoothing: number,
  chunks: number,
  dims: BatchDims = ANY_BATCH,
  task: Task = languageModelling,
): Record<string, Value> {
  const graph = batchLogits(model, true, chunks, dims);
  const loss = mul(lossOf(graph, task, smoothing), input("lossScale", "float32", []));
  const penalties = model.methods.map((m) => m.penalty(graph.inputs)).filter((p) => p !== null);
  const penaltyScale = input("penaltyScale", "float32", []);
  const objective = penalties.reduce((sum, p) => add(sum, mul(p, penaltyScale)), loss);
  const [g] = gradients(objective, [graph.theta]);
  const sum = flat("gradient", model);
  return { loss, "gradient.next": g ? add(sum, g) : sum };
}

/** Factor on the learning rate of every element of θ; null where all are 1. */
function rateFactors(model: AdaptedModel): Value | null {
  const trainables = trainablesOf(model.methods);
  const factorOf = (t: Trainable): number => (t.fixed ? 0 : (t.rateFactor ?? 1));
  if (trainables.every((t) => factorOf(t) === 1)) return null;
  const size = parameterCount(trainables);
  const factors = new Float32Array(size);
  let offset = 0;
  for (const t of trainables) {
    factors.fill(factorOf(t), offset, offset + sizeOf(t.shape));
    offset += sizeOf(t.shape);
  }
  return constant(floats(factors, [size]));
}

/** Name of a method's number that changes with the step. */
export function scalarName(method: number, name: string): string {
  return `after.${method}.${name}`;
}

/** θ after what methods do to it once the optimizer is through. */
function afterUpdates(model: AdaptedModel, theta: Value, gradient: Value): Value {
  if (model.methods.every((m) => m.afterUpdate === null)) return theta;
  const trainables = trainablesOf(model.methods);
  const [values, slopes] = [viewsOf(theta, trainables), viewsOf(gradient, trainables)];
  const next = new Map(values);
  for (const [i, { afterUpdate }] of model.methods.entries()) {
    const scalars = new Map<string, Value>();
    const scalar = (n: string): Value => {
      const value = scalars.get(n) ?? input(scalarName(i, n), "float32", []);
      scalars.set(n, value);
      return value;
    };
    const changed = afterUpdate?.apply({
      trainable: (n) => values.get(n) as Value,
      gradient: (n) => slopes.get(n) as Value,
      scalar,
    });
    for (const [name, value] of changed ?? []) next.set(name, value);
  }
  return concat(
    trainables.map((t) => reshape(next.get(t.name) as Value, [sizeOf(t.shape)])),
    0,
  );
}

/** One optimizer update from the summed gradient. Outputs the new state, the norm before clipping, and `finite`: whether
 *  loss, norm and new parameters are numbers, without which the new state (a cleared gradient is part of it) must not be
 *  kept. */
export function updateGraph(
  model: AdaptedModel,
  options: AdamWOptions & { readonly clipNorm: number | null },
): Record<string, Value> {
  const gradient = flat("gradient", model);
  const norm = globalNorm(gradient);
  const clipped = options.clipNorm === null ? gradient : clipByNorm(gradient, norm, options.clipNorm);
  const scalars = {
    learningRate: input("learningRate", "float32", []),
    correction1: input("correction1", "float32", []),
    correction2: input("correction2", "float32", []),
  };
  const state = { theta: flat("theta", model), m: flat("m", model), v: flat("v", model) };
  const rates = rateFactors(model);
  const learningRate = rates ? mul(scalars.learningRate, rates) : scalars.learningRate;
  const stepped = adamw(state, clipped, { ...scalars, learningRate }, options);
  const next = { ...stepped, theta: afterUpdates(model, stepped.theta, clipped) };
  // Infinity or NaN anywhere makes the sum so. A comparison with NaN is false, and so is one of infinity with the largest
  // float. Parameters beyond 10¹⁹ are lost as well, long before they overflow.
  const size = add(add(norm, input("loss", "float32", [])), globalNorm(next.theta));
  const finite = apply("Less", [size, scalarConstant(3.4e38)], [], {}, null, "bool");
  // g − g is +0 for every number: the next window starts from it, and no vector of |Θ| zeros comes from the host.
  const cleared = sub(gradient, gradient);
  const carried = { "theta.next": next.theta, "m.next": next.m, "v.next": next.v, "gradient.next": cleared };
  return { ...carried, gradNorm: norm, finite };
}

/** Loss without gradients. Outputs: loss [] (Σ of edge losses), and what the task scores. */
export function evaluationGraph(
  model: AdaptedModel,
  chunks: number,
  task: Task = languageModelling,
): Record<string, Value> {
  const graph = batchLogits(model, false, chunks, ANY_BATCH);
  return { loss: lossOf(graph, task, 0), ...task.scores(graph.edges) };
}
