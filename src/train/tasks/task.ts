import type { Example } from "../../data/batch.ts";
import type { Dataset } from "../../data/read-dataset.ts";
import type { Rows } from "../../data/rows.ts";
import type { BaseModel } from "../../models/base.ts";
import type { Objective } from "../../objectives/objective.ts";
import type { ProcessGroup } from "../../parallel/group.ts";
import type { Method } from "../../peft/method.ts";
import type { AdaptedModel } from "../../peft/use/adapted-model.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { PreviewSpan, Sample } from "../sample.ts";

/** What a task may choose from. */
export interface TaskChoice {
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
  /** Who answers together. */
  readonly group: ProcessGroup;
}

/** What a model with its head is for: which models and data call for it, and what is learned then. */
export interface Task {
  readonly name: string;
  /** One line for help texts. */
  readonly summary: string;
  /** What it is learned by. */
  readonly objective: Objective;
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
  prepare(base: BaseModel, dataset: Pick<Dataset, "train">, choice: TaskChoice): BaseModel;
  /** Methods that the task can be trained with. @throws UnsupportedError, InputError for others */
  checkMethods(base: Pick<BaseModel, "config" | "newWeights">, methods: readonly Method[]): void;
  /** An example as people read it. */
  preview(example: Example, base: BaseModel): readonly PreviewSpan[];
  /** Answers of the model as it is to held-out rows. */
  samples(request: SampleRequest): Promise<readonly Sample[]>;
}
