// Types of the public surface: checked by `npm run typecheck`, which fails where a type differs or an unwanted use is taken.
import { expectTypeOf } from "vitest";
import type {
  ActiveAdapter,
  BaseModel,
  DoneEvent,
  EvaluationEvent,
  GeneratedPiece,
  GenerateRequest,
  GenerateResult,
  LoadedModel,
  StepEvent,
  TrainEvent,
  TrainOptions,
} from "../../src/index.ts";
import { loadClassifier, loadModel, mergeAdapter, train, trainConfig } from "../../src/index.ts";

// train yields a union that `type` tells apart.
expectTypeOf(train).returns.toEqualTypeOf<AsyncGenerator<TrainEvent>>();
expectTypeOf<TrainEvent["type"]>().toEqualTypeOf<
  | "plan"
  | "progress"
  | "preview"
  | "evaluation"
  | "ready"
  | "step"
  | "checkpoint"
  | "profile"
  | "samples"
  | "warning"
  | "resumed"
  | "stopped"
  | "done"
>();
expectTypeOf<Extract<TrainEvent, { type: "step" }>>().toEqualTypeOf<StepEvent>();
expectTypeOf<Extract<TrainEvent, { type: "evaluation" }>>().toEqualTypeOf<EvaluationEvent>();
expectTypeOf<Extract<TrainEvent, { type: "done" }>>().toEqualTypeOf<DoneEvent>();
expectTypeOf<StepEvent["loss"]>().toBeNumber();
expectTypeOf<DoneEvent["adapterPath"]>().toBeString();

// Every option may be left out; a complete configuration has all, and cannot be written to.
expectTypeOf<Record<never, never>>().toExtend<TrainOptions>();
expectTypeOf(trainConfig().rank).toBeNumber();
expectTypeOf<TrainOptions["bias"]>().toEqualTypeOf<"none" | "all" | "lora_only" | undefined>();
// @ts-expect-error a rank is a number
train({ rank: "8" });
// @ts-expect-error no such option
train({ ranks: 8 });
// @ts-expect-error data is a list
train({ data: "shell-recipes" });
// @ts-expect-error not one of the biases
train({ bias: "some" });
// @ts-expect-error a signal is not an option of the run but of how to run
train({ signal: new AbortController().signal });
// @ts-expect-error options are read only
trainConfig().rank = 4;

// loadModel's methods.
expectTypeOf(loadModel).returns.resolves.toEqualTypeOf<LoadedModel>();
declare const model: LoadedModel;
expectTypeOf(model.base).toEqualTypeOf<BaseModel>();
expectTypeOf(model.adapter).toEqualTypeOf<ActiveAdapter | null>();
expectTypeOf(model.generate).toEqualTypeOf<
  (request: GenerateRequest) => AsyncGenerator<GeneratedPiece, GenerateResult>
>();
expectTypeOf(model.generateText).returns.resolves.toEqualTypeOf<GenerateResult>();
expectTypeOf(model.swap).toEqualTypeOf<(adapter: string | null) => Promise<void>>();
expectTypeOf(model.set).parameter(0).toEqualTypeOf<string | readonly string[]>();
expectTypeOf(model.weights).parameter(0).toEqualTypeOf<Readonly<Record<string, number>>>();
for (const method of ["merge", "unmerge", "disable", "enable", "close"] as const)
  expectTypeOf(model[method]).toEqualTypeOf<() => Promise<void>>();
// @ts-expect-error a model has to be named
loadModel({ adapter: "runs/mine" });
// @ts-expect-error no such device
loadModel({ model: "smollm2-135m", device: "abacus" });
// @ts-expect-error factors are numbers
model.weights({ sql: "0.7" });
// @ts-expect-error what is loaded cannot be replaced from outside
model.adapter = null;

// Classifying and merging.
declare const classifier: Awaited<ReturnType<typeof loadClassifier>>;
classifier.classify(["a text", ["a", "pair"]]);
// @ts-expect-error a pair has two texts
classifier.classify([["a", "b", "c"]]);
// @ts-expect-error loadClassifier takes one object
loadClassifier("model");
// @ts-expect-error a merged model has to be put somewhere
mergeAdapter({ model: "smollm2-135m", adapter: "runs/mine" });
// @ts-expect-error no such type of numbers
mergeAdapter({ model: "smollm2-135m", adapter: "runs/mine", output: "merged", dtype: "float8" });
