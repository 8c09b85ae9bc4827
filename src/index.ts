export { batchOrder } from "./data/batches.ts";
export { type Dataset, type DatasetOptions, loadDataset } from "./data/dataset.ts";
export { type EncodedDataset, encodeDataset } from "./data/examples.ts";
export type { Indexed } from "./data/indexed.ts";
export type { Rows } from "./data/rows.ts";
export {
  FormatError,
  InputError,
  LowrankError,
  NetworkError,
  NotFoundError,
  type Problem,
  RuntimeError,
  ShapeError,
  TrainingError,
  UnsupportedError,
} from "./errors.ts";
export {
  type EvaluateEvent,
  type EvaluateOptions,
  type EvaluationSummary,
  evaluate,
} from "./evaluate/evaluate.ts";
export type { ModelConfig } from "./formats/model.ts";
export { type AdapterContent, type AdapterFile, readAdapter, writeAdapter } from "./formats/peft/adapter.ts";
export type { LoraConfig } from "./formats/peft/config.ts";
export {
  type Classification,
  type ClassifierInput,
  type LoadedClassifier,
  loadClassifier,
} from "./generate/classifier.ts";
export {
  type ActiveAdapter,
  type LoadedModel,
  type LoadModelOptions,
  loadModel,
} from "./generate/model.ts";
export type { GeneratedPiece, GenerateRequest, GenerateResult } from "./generate/stream.ts";
export { type PushOptions, type PushResult, pushFolder } from "./hub/push.ts";
export { type Environment, environment } from "./inspect/environment.ts";
export { type InspectedTensor, type Inspection, inspect } from "./inspect/inspect.ts";
export { type MethodCost, methodCosts } from "./inspect/method-costs.ts";
export {
  measureSwap,
  type SwapEvent,
  type SwapOptions,
  type SwapReport,
  type Timings,
} from "./inspect/swap.ts";
export type { OnProgress, Progress } from "./io/progress.ts";
export type { BaseModel } from "./models/base.ts";
export { type OpenBaseOptions, openBase } from "./models/base-model.ts";
export {
  type CombinationKind,
  type CombineOptions,
  combineAdapters,
  type WeightedAdapter,
} from "./peft/combine/combine.ts";
export { combineFolders } from "./peft/combine/folders.ts";
export {
  type AdapterFormat,
  type ConvertOptions,
  type ConvertResult,
  convertAdapter,
} from "./peft/files/convert.ts";
export {
  type MergeDType,
  type MergeFormat,
  type MergeOptions,
  type MergeResult,
  mergeAdapter,
} from "./peft/merge/merge.ts";
export { METHOD_NAMES, methodsWith } from "./peft/methods/table.ts";
export type { AdapterChoice } from "./peft/use/adapter-choice.ts";
export type { Device } from "./runtime/device.ts";
export type { Message } from "./text/messages.ts";
export {
  type TrainConfig,
  type TrainOptions,
  trainConfig,
  trainConfigSchema,
} from "./train/config/config.ts";
export type * from "./train/events.ts";
export type { Measures } from "./train/measures.ts";
export { readMetrics } from "./train/metrics-log.ts";
export { type RunSummary, readSummary } from "./train/summary.ts";
export { type TrainRunOptions, train } from "./train/trainer.ts";
