import type { Example, PackedBatch } from "../../data/batch.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { EncodedDataset } from "../../data/examples.ts";
import type { DataOptions, ExampleOptions } from "../../data/options.ts";
import type { Rows } from "../../data/rows.ts";
import type { PackOptions } from "../../data/trie.ts";
import type { RowWork } from "../../data/visit-rows.ts";
import type { Value } from "../../graph/value.ts";
import type { BaseModel } from "../../models/base.ts";
import type { Method } from "../../peft/method.ts";
import type { AdaptedModel } from "../../peft/use/adapted-model.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { Measures } from "../measures.ts";
import type { PreviewSpan, Sample } from "../sample.ts";

/** Where the loss is, in one chunk of a batch: E edges. */
export interface Edges {
  /** [E, n] what the model says. */
  readonly logits: Value;
  /** int32 [E] */
  readonly labels: Value;
  /** float32 [E], for tasks whose targets are values. */
  readonly targets: Value;
  /** float32 [E] how often an edge counts; 0 for padding. */
  readonly weights: Value;
}

/** Collects what evaluations of batches put out. */
export interface Scorer {
  /** `outputs`: those of `Task.scores`. */
  add(outputs: Readonly<Record<string, Tensor>>, batch: PackedBatch): void;
  /** `loss`: over everything that was added. */
  measures(loss: number, labelCount: number): Measures;
}

/** What a task may choose from. */
export interface TaskOptions {
  /** Names of the classes; null: the model's, else those in the data. */
  readonly labels: readonly string[] | null;
  readonly seed: number;
}

/** What answering sample prompts needs. */
export interface SampleRequest {
  readonly runtime: Runtime;
  readonly model: AdaptedModel;
  readonly base: BaseModel;
  readonly rows: Rows;
  readonly count: number;
  readonly maxLength: number;
  readonly signal: AbortSignal;
}

/** What a model is trained for: from rows to examples, from logits to a loss and to measures. */
export interface Task {
  readonly name: string;
  /** One line for help texts. */
  readonly summary: string;
  /** What the loss is in, for people: "nats per token". */
  readonly lossUnit: string;
  /** What the loss is the mean over, for people: "tokens". */
  readonly counts: string;
  /** Command that uses the trained adapter. */
  readonly command: string;
  /** PEFT's name of the task. */
  readonly peftName: string;
  /** The model can be trained for it. */
  fits(base: Pick<BaseModel, "config">): boolean;
  /** It is what the data look like, among the tasks that fit. */
  suits(rows: Rows, base: BaseModel): boolean;
  /** The model as it is to be trained on these data: an encoder with a head for their labels.
   *  @throws InputError if the data have none */
  prepare(base: BaseModel, dataset: Pick<Dataset, "train">, options: TaskOptions): BaseModel;
  /** Methods that the task can be trained with. @throws UnsupportedError, InputError for others */
  checkMethods(base: Pick<BaseModel, "config" | "newWeights">, methods: readonly Method[]): void;
  /** Held-out rows that can be measured on: public tests often hide their labels. */
  labelled(rows: Rows, base: BaseModel): Rows;
  /** Rows as examples for a prepared model, with the virtual tokens of its methods. @throws InputError */
  encode(
    rows: Rows,
    base: BaseModel,
    choice: EncodeChoice,
    methods: readonly Method[],
  ): Promise<EncodedDataset>;
  /** An example as people read it. */
  preview(example: Example, base: BaseModel): readonly PreviewSpan[];
  pack(examples: readonly Example[], options: PackOptions): PackedBatch;
  /** What examples of a batch begin with alike is computed once. */
  readonly sharesPrefixes: boolean;
  /** Tokens that a batch of these examples computes. */
  packedSize(examples: readonly Example[]): number;
  /** Σ of the weighted losses of one chunk, []. */
  loss(edges: Edges, smoothing: number): Value;
  /** What an evaluation puts out beside the loss, by name. */
  scores(chunks: readonly Edges[]): Readonly<Record<string, Value>>;
  scorer(model: Pick<AdaptedModel, "config">): Scorer;
  /** Answers of the model as it is to held-out rows. */
  samples(request: SampleRequest): Promise<readonly Sample[]>;
}

/** How rows become examples. */
export type EncodeChoice = Pick<ExampleOptions, "lossOn" | "truncation"> &
  Pick<DataOptions, "onBadRow"> &
  RowWork & { readonly maxLength: number };
