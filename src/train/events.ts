import type { Measures } from "../objectives/measures.ts";
import type { StepProfile } from "./profile/read.ts";
import type { PreviewSpan, Sample } from "./sample.ts";
import type { Recompute } from "./step-graphs.ts";

/** What a training run says while it runs, in order: progress*, plan, preview, (resumed), evaluation (before),
 *  samples (before), then step with evaluation, samples and checkpoint between, evaluation (after), samples (after), and
 *  either done or stopped. Warnings come at any time. Every number's name carries its unit. */
export type TrainEvent =
  | PlanEvent
  | ProgressEvent
  | PreviewEvent
  | EvaluationEvent
  | ReadyEvent
  | StepEvent
  | CheckpointEvent
  | ProfileEvent
  | SamplesEvent
  | WarningEvent
  | ResumedEvent
  | StoppedEvent
  | DoneEvent;

/** What a method costs, as the LoRA paper counts it (§4.2): bytes. All but `working` and `memory` are exact. */
export interface ResourcePlan {
  /** Frozen weights, float32, memory-mapped. */
  readonly frozenBytes: number;
  /** Trained parameters. */
  readonly trainableBytes: number;
  readonly gradientBytes: number;
  /** Both moments of AdamW. */
  readonly optimizerBytes: number;
  /** Estimated: activations, copies of weights in the layout that products read fastest, temporaries, the process. */
  readonly workingBytes: number;
  /** Estimated peak of resident memory: all of the above. */
  readonly memoryBytes: number;
  /** The adapter's files. */
  readonly adapterBytes: number;
  /** A checkpoint: an adapter, the parameters once more, and the moments. */
  readonly checkpointBytes: number;
}

/** What a run cost. */
export interface MeasuredResources {
  /** Largest resident memory of the process so far; of a resumed run, of its last part. */
  readonly peakMemoryBytes: number;
  readonly adapterBytes: number;
  /** The newest checkpoint. */
  readonly checkpointBytes: number;
}

/** Modules, or whatever else a method trains, that differ by their layer alone. */
export interface TrainedPlace {
  /** As transformers names it where it has it, with `*` for the layer: `model.layers.*.self_attn.q_proj`. */
  readonly name: string;
  /** How many there are. */
  readonly count: number;
}

/** Everything known before the first step. */
export interface PlanEvent {
  readonly type: "plan";
  /** The model as the user named it. */
  readonly model: string;
  /** What it is trained for: "language-modelling" | "classification" | … */
  readonly task: string;
  /** Names of the classes, in their order; null where there are none. */
  readonly labels: readonly string[] | null;
  /** What losses are in: "nats per token" | … */
  readonly lossUnit: string;
  /** What losses are the mean over: "tokens" | "examples". */
  readonly counts: string;
  /** The command that uses the trained adapter. */
  readonly command: string;
  /** "lora" | … */
  readonly method: string;
  /** The data as the user named it. */
  readonly data: string;
  /** What is trained, by kind of place. */
  readonly trained: readonly TrainedPlace[];
  readonly trainableParameters: number;
  /** Parameters of the base and what the adapter adds to them; weights that are trained themselves count once. */
  readonly totalParameters: number;
  /** trainableParameters / totalParameters, 0 to 1. */
  readonly share: number;
  /** Training examples that are left after truncation and dropping. */
  readonly examples: number;
  readonly validationExamples: number;
  readonly testExamples: number;
  /** One epoch's tokens: as padded rectangles, as packed tries, and those with a loss on them. `countedBatches`: batches that the
   *  first two were estimated from; null where all were counted. */
  readonly tokensPerEpoch: {
    readonly padded: number;
    readonly trie: number;
    readonly labels: number;
    readonly countedBatches: number | null;
  };
  /** Optimizer updates of the whole run. */
  readonly steps: number;
  readonly stepsPerEpoch: number;
  /** Examples cut to maxLength. */
  readonly truncated: number;
  /** Examples left out because they do not fit maxLength. */
  readonly dropped: number;
  /** What is computed again in the backward pass, to save memory. */
  readonly recompute: Recompute;
  readonly resources: ResourcePlan;
  /** Seconds the run will take; null where nothing was measured yet. */
  readonly estimatedSeconds: number | null;
  /** Processes that train together; missing where it is one. */
  readonly processes?: number;
  /** Where the run is written. */
  readonly runFolder: string;
}

/** A download or a conversion on its way; `doneBytes` equals `totalBytes` at its end where the total is known. */
export interface ProgressEvent {
  readonly type: "progress";
  readonly what: string;
  readonly doneBytes: number;
  readonly totalBytes: number | null;
}

/** The first examples, decoded as the model will see them. */
export interface PreviewEvent {
  readonly type: "preview";
  readonly examples: readonly (readonly PreviewSpan[])[];
}

/** Losses on held-out examples, and what the task measures. */
export interface EvaluationEvent extends Measures {
  readonly type: "evaluation";
  /** Optimizer updates done: 0 is the untrained adapter. */
  readonly step: number;
  readonly split: "validation" | "test";
  /** Nats per label token, or what the plan's `lossUnit` says. */
  readonly loss: number;
  /** Labels that the loss is the mean over: tokens, or what the plan's `counts` says. */
  readonly labelTokens: number;
  readonly elapsedMs: number;
  /** The lowest loss on this split so far. */
  readonly isBest: boolean;
}

/** What steps need is loaded: the first comes next. */
export interface ReadyEvent {
  readonly type: "ready";
  /** Milliseconds that loading took. */
  readonly elapsedMs: number;
}

/** One optimizer update. */
export interface StepEvent {
  readonly type: "step";
  /** 1 is the first. */
  readonly step: number;
  readonly steps: number;
  /** Passes over the data, fractional. */
  readonly epoch: number;
  /** Mean over the labels of the step's examples, before the update: nats per token, or what the plan's `lossUnit` says. */
  readonly loss: number;
  readonly learningRate: number;
  /** Global L2 norm before clipping. */
  readonly gradNorm: number;
  readonly labelTokens: number;
  readonly trieTokens: number;
  readonly examples: number;
  /** Milliseconds this step took. */
  readonly elapsedMs: number;
  /** Trie tokens per second. */
  readonly tokensPerSecond: number;
  readonly examplesPerSecond: number;
  /** Milliseconds to the end of the run at the recent pace. */
  readonly etaMs: number;
}

/** A checkpoint is completely on disk. */
export interface CheckpointEvent {
  readonly type: "checkpoint";
  readonly step: number;
  readonly path: string;
  /** It holds the best adapter by validation loss so far. */
  readonly isBest: boolean;
}

/** Where the time of some training steps went. */
export interface ProfileEvent {
  readonly type: "profile";
  readonly profile: StepProfile;
  /** profile.json: the same. */
  readonly path: string;
  /** profile.svg */
  readonly chartPath: string;
}

/** Greedy outputs for a few held-out prompts. */
export interface SamplesEvent {
  readonly type: "samples";
  readonly step: number;
  readonly when: "before" | "during" | "after";
  /** Those that are to be shown; none where only `exactMatch` was asked for. */
  readonly samples: readonly Sample[];
  /** Over `scoreAnswers` prompts; missing where none were asked for, and during a run. */
  readonly exactMatch?: ExactMatch;
}

/** Share of greedy answers that equal those in the data, white space at both ends aside, 0 to 1. */
export interface ExactMatch {
  readonly share: number;
  /** How many held-out prompts were answered. */
  readonly prompts: number;
}

/** The same before and after training, 0 to 1. */
export interface ExactMatchChange {
  readonly before: number;
  readonly after: number;
  readonly prompts: number;
}

/** Something that the user should know and that does not stop the run. */
export interface WarningEvent {
  readonly type: "warning";
  readonly message: string;
}

/** The run goes on from a checkpoint. */
export interface ResumedEvent {
  readonly type: "resumed";
  readonly step: number;
  readonly path: string;
}

/** The run ended before its last step, with a checkpoint written. Early stopping goes on to `done`. */
export interface StoppedEvent {
  readonly type: "stopped";
  readonly reason: "interrupt" | "early-stopping";
  readonly step: number;
  /** The command that goes on from here; null where the run is over. */
  readonly resumeHint: string | null;
}

/** The adapter is on disk. */
export interface DoneEvent {
  readonly type: "done";
  readonly steps: number;
  readonly elapsedMs: number;
  readonly adapterPath: string;
  /** The step whose adapter was kept; null where nothing was evaluated between (then it is the last). */
  readonly bestStep: number | null;
  /** Held-out loss (test, else validation) in the plan's `lossUnit`; null without held-out examples. */
  readonly lossBefore: number | null;
  readonly lossAfter: number | null;
  /** Of greedy answers; missing where none were to be compared. */
  readonly exactMatch?: ExactMatchChange;
  readonly measured: MeasuredResources;
  readonly reportPath: string;
}
