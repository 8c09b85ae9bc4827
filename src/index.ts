export type { OnBadRow } from "./data/bad-rows.ts";
export type { Example, Sequence } from "./data/batch.ts";
export { type BatchOrderOptions, batchOrder } from "./data/batches.ts";
export { type DatasetOptions, loadDataset } from "./data/dataset.ts";
export type { Duplicates } from "./data/duplicates.ts";
export type { Histogram } from "./data/example-store.ts";
export {
  type DatasetReport,
  type EncodedDataset,
  type EncodeOptions,
  encodeDataset,
} from "./data/examples.ts";
export type { Conversation, Labelled, PlainText, Row } from "./data/formats/format.ts";
export type { Indexed } from "./data/indexed.ts";
export type { DataNote, NoteKind } from "./data/notes.ts";
export type { Where } from "./data/place.ts";
export type { Dataset } from "./data/read-dataset.ts";
export type { DatasetRow, Rows } from "./data/rows.ts";
export type { LossOn, TextCodec } from "./data/sequence.ts";
export type { FetchDataset } from "./data/sources.ts";
export type { Spill, SpillFile } from "./data/spill.ts";
export {
  BusyError,
  ContextError,
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
export {
  type Amplification,
  amplification,
  type Directions,
  ownProjectionNorm,
  projectionNorm,
  randomProjectionNorm,
} from "./explain/amplification.ts";
export { type ModuleSimilarity, rightDirections } from "./explain/compare.ts";
export {
  type Comparison,
  type ExplainedBase,
  type ExplainOptions,
  type Explanation,
  explainAdapter,
} from "./explain/explain.ts";
export { type Finding, findings } from "./explain/findings.ts";
export type { HeatMap } from "./explain/heat-map.ts";
export type { ModuleExplanation } from "./explain/module-explanation.ts";
export { moduleWeight } from "./explain/module-weight.ts";
export { explanationPage, writeExplanation } from "./explain/page.ts";
export { heatMap } from "./explain/page-maps.ts";
export {
  effectiveRank,
  keptBy,
  randomSpectrum,
  rankKeeping,
  type Spectrum,
  spectrumOf,
  stableRank,
} from "./explain/spectrum.ts";
export { initialFactors } from "./explain/start.ts";
export { randomSimilarity, type SubspaceSimilarity, subspaceSimilarity } from "./explain/subspace.ts";
export type { GroupSummary, RankAdvice, RankChoice } from "./explain/summary.ts";
export type { AdapterUpdates, ModuleUpdate, UpdatesOptions, WithoutUpdate } from "./explain/update.ts";
export { adapterUpdates } from "./explain/updates.ts";
export type { LoraFactors } from "./formats/lora-factors.ts";
export type { ModelConfig } from "./formats/model.ts";
export { type AdapterContent, type AdapterFile, readAdapter, writeAdapter } from "./formats/peft/adapter.ts";
export type { LoraConfig } from "./formats/peft/config.ts";
export type { ModuleTensors } from "./formats/peft/keys.ts";
export type { OnnxVariant } from "./formats/transformers-js/layout.ts";
export {
  type Classification,
  type ClassifierInput,
  type LoadedClassifier,
  loadClassifier,
} from "./generate/classifier.ts";
export type {
  EmbedRequest,
  EmbedResult,
  Engine,
  EngineOptions,
  EngineRequest,
  EngineStatus,
} from "./generate/engine/engine.ts";
export { openEngine } from "./generate/engine/open.ts";
export type { ResponseFormat, ToolChoice } from "./generate/held-answer.ts";
export type { JsonSchema } from "./generate/json-schema.ts";
export type { ActiveAdapter, LoadedModel } from "./generate/loaded.ts";
export type { ChosenLogprob, TokenLogprob } from "./generate/logprobs.ts";
export { type LoadModelOptions, loadModel } from "./generate/model.ts";
export type { GeneratedPiece, GenerateRequest, GenerateResult } from "./generate/stream.ts";
export type { HubDataset } from "./hub/dataset.ts";
export type { DataFile, DataFormat } from "./hub/dataset-files.ts";
export { type PushOptions, type PushResult, pushFolder } from "./hub/push.ts";
export type { HubOptions } from "./hub/repo.ts";
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
export type { WeightLookup } from "./models/base-context.ts";
export { type OpenBaseOptions, openBase } from "./models/base-model.ts";
export type {
  ForwardContext,
  KeyValuePrefix,
  LinearWeights,
  Segment,
  SegmentStrategy,
  TokenInputs,
} from "./models/context.ts";
export type { Family, ModuleSpec } from "./models/family.ts";
export type { TemplateVariables } from "./models/model-text.ts";
export type { QuantizedBits } from "./models/quantize.ts";
export type { WeightFile } from "./models/weight-layout.ts";
export type { BaseBits } from "./models/weight-storage.ts";
export type { Measures } from "./objectives/measures.ts";
export type { ScheduleName } from "./optim/schedule.ts";
export type { Setting, SettingsOf } from "./options/setting.ts";
export type { ProcessGroup } from "./parallel/group.ts";
export { openProcessGroup } from "./parallel/mpi.ts";
export type { CombineAccess } from "./peft/combine/access.ts";
export {
  type CombinationKind,
  type CombineOptions,
  combineAdapters,
  type WeightedAdapter,
} from "./peft/combine/combine.ts";
export { type CombinedFolder, combineFolders } from "./peft/combine/folders.ts";
export type { MajoritySign } from "./peft/combine/math.ts";
export {
  type ShrinkOptions,
  type ShrunkAdapter,
  type ShrunkModule,
  shrinkAdapter,
} from "./peft/combine/shrink.ts";
export { shrinkFolder } from "./peft/combine/shrink-folder.ts";
export {
  type AdapterFormat,
  type ConvertOptions,
  type ConvertResult,
  convertAdapter,
} from "./peft/files/convert.ts";
export {
  type ExportedVariant,
  type ExportOptions,
  type ExportResult,
  exportModel,
  type MergeDType,
  type MergeFormat,
  type MergeOptions,
  type MergeResult,
  mergeAdapter,
} from "./peft/merge/merge.ts";
export { METHOD_NAMES, methodsWith } from "./peft/methods/table.ts";
export type { LayerSelection, ModuleSelection } from "./peft/methods/target-options.ts";
export type { AdapterChoice } from "./peft/use/adapter-choice.ts";
export type { Device, DeviceChoice } from "./runtime/device.ts";
export type { Matrix, Svd } from "./tensor/linear-algebra.ts";
export type { Span, TextSection } from "./text/added-tokens.ts";
export type { ChatTemplate } from "./text/chat-template.ts";
export type { DataSpan, Rendering } from "./text/jinja/template.ts";
export type { Message, MessageContent, RenderOptions, Role, TextPart } from "./text/messages.ts";
export type { TemplateArgs } from "./text/template-options.ts";
export type { Tokenizer } from "./text/tokenizer.ts";
export type { ToolCall, ToolCallForm, ToolCallRead, WrittenCalls } from "./text/tool-call-forms.ts";
export { type AnswerPart, parseToolCalls, readToolCalls, type ToolCallReader } from "./text/tool-calls.ts";
export {
  type TrainConfig,
  type TrainOptions,
  trainConfig,
  trainConfigSchema,
} from "./train/config/config.ts";
export type * from "./train/events.ts";
export { lockRunFolder, type ReleaseLock } from "./train/lock.ts";
export { type MetricsEvent, readMetrics } from "./train/metrics-log.ts";
export type { ProfileShare, StepProfile } from "./train/profile/read.ts";
export type { StateResources } from "./train/resources.ts";
export type { PreviewSpan, Sample } from "./train/sample.ts";
export type { Recompute } from "./train/step-graphs.ts";
export { type RunSummary, readSummary } from "./train/summary.ts";
export { type TrainRunOptions, train } from "./train/trainer.ts";
