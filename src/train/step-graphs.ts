import { type EagerTerm, eager } from "../graph/eager.ts";
import { gradients } from "../graph/gradients.ts";
import { add, foldRows, gather, mul, stemOf, total } from "../graph/ops/index.ts";
import { recomputed } from "../graph/recompute.ts";
import { type Dim, input, type Value } from "../graph/value.ts";
import { batchAttention, keepSegments, queryBlocks } from "../models/base-context.ts";
import type { Segment, SegmentStrategy } from "../models/context.ts";
import type { Edges, Objective } from "../objectives/objective.ts";
import type { MethodInputs } from "../peft/method.ts";
import {
  type AdaptedModel,
  adaptedContext,
  adaptedGraph,
  forwardAdapted,
} from "../peft/use/adapted-model.ts";

/** Rows are padded to a multiple of this, where they attend whole. */
const BUCKET_TOKENS = 8;

/** Edges per chunk at most: bounds the logits held at once to this many rows of the vocabulary. */
export const MAX_CHUNK_EDGES = 256;

/** Rows of a model's batches are padded to a multiple of this, so that their blocks of queries are equal. */
export function rowBucket({ rowTokens }: Pick<AdaptedModel, "rowTokens">): number {
  return Math.max(BUCKET_TOKENS, queryBlocks(rowTokens));
}

/** What of the forward pass is computed again in the backward pass instead of being kept: nothing, attention's softmax and
 *  activations (`cheap`), or all but the stream between blocks (`layer`). Losses and gradients are the same, but that some are summed in another order
 *  (DoRA's). */
export type Recompute = "none" | "cheap" | "layer";

/** Every level, the one that keeps most first. */
export const RECOMPUTE_LEVELS: readonly [Recompute, ...Recompute[]] = ["none", "cheap", "layer"];

/** What is computed again. Of a layer that is, attention in blocks is so once more: its scores are never there together. */
function recomputedSegments(recompute: Recompute, model: AdaptedModel): readonly Segment[] {
  if (recompute === "none") return [];
  if (recompute === "cheap") return ["core"];
  return queryBlocks(model.rowTokens) > 1 ? ["block", "core"] : ["block"];
}

function segmentsOf(recompute: Recompute, model: AdaptedModel, zero: Value): SegmentStrategy {
  const again = recomputedSegments(recompute, model);
  if (again.length === 0) return keepSegments;
  return (kind, inputs, build) => (again.includes(kind) ? recomputed(inputs, build, zero) : build(...inputs));
}

/** What the graphs of a step are built from. */
export interface StepSubject {
  readonly model: AdaptedModel;
  readonly objective: Objective;
  /** Equal parts that the edges of a batch come in, so that [E, V] is never whole. */
  readonly chunks: number;
}

/** Rows, tokens per row, tokens of the stem and edges per chunk of the batches a graph takes: numbers, or names where batches
 *  differ. */
export interface BatchDims {
  readonly R: Dim;
  readonly T: Dim;
  readonly P: Dim;
  readonly E: Dim;
}

const ANY_BATCH: BatchDims = { R: "R", T: "T", P: "P", E: "E" };

/** One chunk of a batch's edges. */
interface Chunk {
  /** Hidden states where its edges start, [E, d]. */
  readonly hidden: Value;
  /** The edges, with their logits. */
  readonly edges: (hidden: Value) => Edges;
}

interface BatchGraph {
  readonly theta: Value;
  readonly inputs: MethodInputs;
  readonly chunks: readonly Chunk[];
}

/** How the forward pass of a batch is built. */
interface ForwardOptions {
  /** With dropout. */
  readonly training: boolean;
  readonly dims?: BatchDims;
  readonly segments?: SegmentStrategy;
}

/** Builds a graph from the hidden states at the edges of a packed batch. */
function batchGraph<T>(
  { model, chunks }: StepSubject,
  { training, dims = ANY_BATCH, segments = keepSegments }: ForwardOptions,
  build: (graph: BatchGraph) => T,
): T {
  const { R, T, P, E } = dims;
  const ids = input("tokens", "int32", [R, T]);
  const positions = input("positions", "int32", [R, T]);
  const ends = input("ends", "int32", [R, T]);
  const types = input("types", "int32", [R, T]);
  const columns = input("columns", "int32", [T]);
  const noise = training ? input("noise", "int32", [R, T, 1]) : null;
  const blocks = queryBlocks(model.rowTokens);
  const stem = model.config.encoder
    ? null
    : stemOf(input("stemColumns", "int32", [P]), input("rowIndices", "int32", [R]), ends);
  const attend = batchAttention(
    model.config,
    { columns, ends, positions },
    model.positionCount,
    blocks,
    stem,
  );
  return adaptedGraph(model, { ids, noise }, (inputs, theta) => {
    const ctx = adaptedContext(model, inputs, attend, segments);
    const hidden = foldRows(forwardAdapted(model, ctx, { ids, positions, types }, tableLength(model)));
    const parts = Array.from({ length: chunks }, (_, i): Chunk => {
      const part = (name: string, dtype: "int32" | "float32"): Value => input(`${name}.${i}`, dtype, [E]);
      const rest = {
        labels: part("edgeLabels", "int32"),
        targets: part("edgeTargets", "float32"),
        weights: part("edgeWeights", "float32"),
      };
      return {
        hidden: gather(hidden, part("edgeNodes", "int32")),
        edges: (at) => ({ logits: model.family.logits(ctx, at), ...rest }),
      };
    });
    return build({ theta, inputs, chunks: parts });
  });
}

/** A row is padded to a bucket, and the runtime wants its rotary tables at least as long as the row. */
function tableLength(model: AdaptedModel): number {
  return Math.max(model.positionCount, Math.ceil(model.rowTokens / rowBucket(model)) * rowBucket(model));
}

/** Σ of the chunks' losses times `scale`, each with its gradient before the next begins: the logits of one chunk at a time. */
function eagerLoss(
  { chunks }: BatchGraph,
  objective: Objective,
  smoothing: number,
  scale: Value,
  zero: Value,
): Value {
  const terms: EagerTerm[] = [];
  for (const { hidden, edges } of chunks) {
    const loss = (x: Value): Value => mul(objective.loss(edges(x), smoothing), scale);
    terms.push(eager(hidden, loss, terms.at(-1) ?? null, zero));
  }
  return total(terms.map((term) => term.value));
}

/** How a gradient is computed. */
export interface GradientOptions {
  /** Label smoothing; default 0. */
  readonly smoothing?: number;
  /** Default "none". */
  readonly recompute?: Recompute;
  /** Default: any batch. */
  readonly dims?: BatchDims;
}

/** One micro-step: adds the gradient of `Σ edge losses · lossScale` to `gradient`.
 *  Outputs: loss [] (already scaled), gradient.next [|Θ|]. */
export function gradientGraph(
  subject: StepSubject,
  { smoothing = 0, recompute = "none", dims = ANY_BATCH }: GradientOptions = {},
): Record<string, Value> {
  const { model, objective } = subject;
  const zero = input("zero", "float32", []);
  const segments = segmentsOf(recompute, model, zero);
  return batchGraph(subject, { training: true, dims, segments }, (graph) => {
    const loss = eagerLoss(graph, objective, smoothing, input("lossScale", "float32", []), zero);
    const penalties = model.methods.map((m) => m.penalty(graph.inputs)).filter((p) => p !== null);
    const penaltyScale = input("penaltyScale", "float32", []);
    const all = penalties.reduce((sum, p) => add(sum, mul(p, penaltyScale)), loss);
    const [g] = gradients(all, [graph.theta]);
    const sum = input("gradient", "float32", graph.theta.shape);
    return { loss, "gradient.next": g ? add(sum, g) : sum };
  });
}

/** log p of every edge, with the dropout of the update that follows. Outputs: `logProbabilities.<chunk>` [E]. */
export function logProbabilityGraph(subject: StepSubject): Record<string, Value> {
  return batchGraph(subject, { training: true }, (graph) => logProbabilities(subject, edgesOf(graph)));
}

/** Loss without gradients. Outputs: loss [] (Σ of edge losses), what the objective scores, and log p of every edge where it weighs
 *  sequences. */
export function evaluationGraph(subject: StepSubject): Record<string, Value> {
  const { objective } = subject;
  return batchGraph(subject, { training: false }, (graph) => {
    const edges = edgesOf(graph);
    return {
      loss: total(edges.map((part) => objective.loss(part, 0))),
      ...objective.scores(edges),
      ...(objective.weigh === null ? {} : logProbabilities(subject, edges)),
    };
  });
}

function edgesOf({ chunks }: BatchGraph): Edges[] {
  return chunks.map((chunk) => chunk.edges(chunk.hidden));
}

function logProbabilities({ objective }: StepSubject, edges: readonly Edges[]): Record<string, Value> {
  const named = edges.map((part, i) => [`logProbabilities.${i}`, objective.logProbabilities(part)] as const);
  return Object.fromEntries(named);
}
