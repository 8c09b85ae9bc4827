import type { Example, PackedBatch } from "../data/batch.ts";
import type { EncodedDataset } from "../data/examples.ts";
import type { DataOptions, ExampleOptions } from "../data/options.ts";
import type { Rows } from "../data/rows.ts";
import type { PackOptions } from "../data/trie.ts";
import type { RowWork } from "../data/visit-rows.ts";
import type { Value } from "../graph/value.ts";
import type { BaseModel } from "../models/base.ts";
import type { Method } from "../peft/method.ts";
import type { AdaptedModel } from "../peft/use/adapted-model.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Measures } from "./measures.ts";

/** Where the loss is, in one chunk of a batch: E edges. */
export interface Edges {
  /** [E, n] what the model says. */
  readonly logits: Value;
  /** int32 [E] */
  readonly labels: Value;
  /** float32 [E], for objectives whose targets are values. */
  readonly targets: Value;
  /** float32 [E] how much an edge counts; 0 for padding. */
  readonly weights: Value;
}

/** Collects what evaluations of batches put out. */
export interface Scorer {
  /** `outputs`: those of `Objective.scores`. */
  add(outputs: Readonly<Record<string, Tensor>>, batch: PackedBatch): void;
  /** `loss`: over everything that was added. */
  measures(loss: number, labelCount: number): Measures;
}

/** How rows become examples. */
export type EncodeChoice = Pick<ExampleOptions, "lossOn" | "truncation"> &
  Pick<DataOptions, "onBadRow"> &
  RowWork & { readonly maxLength: number };

/** A sequence of an update or an evaluation, as an objective weighs it. */
export interface ScoredSequence {
  /** Index of its example in the data set. */
  readonly example: number;
  /** Σ log p of its labels, in nats. */
  readonly logProbability: number;
  readonly labelCount: number;
}

/** A loss as a function of sequences' log-probabilities, with its gradient. */
export interface SequenceLoss {
  readonly loss: number;
  /** −∂loss/∂log p of each sequence: how much its labels count in the gradient. May be negative. */
  readonly weights: readonly number[];
}

/** What is minimized: from rows to sequences, from the model's log-probabilities of these to a loss, and what to measure. It knows
 *  nothing of files, windows or optimizers. */
export interface Objective {
  readonly name: string;
  /** What the loss is in, for people: "nats per token". */
  readonly lossUnit: string;
  /** What the loss is the mean over, for people: "tokens". */
  readonly counts: string;

  /** Held-out rows that can be measured on: public tests often hide their labels. */
  labelled(rows: Rows, base: BaseModel): Rows;
  /** Rows as examples for a prepared model, with the virtual tokens of its methods. @throws InputError */
  encode(
    rows: Rows,
    base: BaseModel,
    choice: EncodeChoice,
    methods: readonly Method[],
  ): Promise<EncodedDataset>;
  /** Examples as one batch; with `traced` it says which edges each sequence takes. */
  pack(examples: readonly Example[], options: PackOptions): PackedBatch;
  /** What examples of a batch begin with alike is computed once. */
  readonly sharesPrefixes: boolean;
  /** Tokens that a batch of these examples computes. */
  packedSize(examples: readonly Example[]): number;

  /** log p of what each edge of a chunk leads to, [E]; not differentiable. */
  logProbabilities(edges: Edges): Value;
  /** Σ of weights · −log p over one chunk, [], with its gradient. */
  loss(edges: Edges, smoothing: number): Value;
  /** Label smoothing changes `loss`. */
  readonly smooths: boolean;
  /** The loss of a window from its sequences' log-probabilities. null: the mean of −log p over all labels, whose weights are
   *  known beforehand, so that one pass computes loss and gradient. Otherwise a pass forward comes first. */
  readonly weigh: ((sequences: readonly ScoredSequence[]) => SequenceLoss) | null;

  /** What an evaluation puts out beside the loss, by name. */
  scores(chunks: readonly Edges[]): Readonly<Record<string, Value>>;
  scorer(model: Pick<AdaptedModel, "config">): Scorer;
}
