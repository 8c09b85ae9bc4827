// The public surface in a browser: `lowrank/browser`. Nothing that it reaches needs Node.

export {
  FormatError,
  InputError,
  LowrankError,
  NotFoundError,
  type Problem,
  TrainingError,
  UnsupportedError,
} from "../errors.ts";
export type { GeneratedPiece, GenerateRequest, GenerateResult } from "../generate/request.ts";
export { type DirectoryHandle, directoryStorage, type FileHandle } from "../io/storage/directory-storage.ts";
export { filesStorage, type GivenFile } from "../io/storage/files-storage.ts";
export { memoryStorage } from "../io/storage/memory-storage.ts";
export type { FileContent, RandomAccessFile, Storage } from "../io/storage/storage.ts";
export { inFolder } from "../io/storage/sub-storage.ts";
export type { BrowserDevice } from "../runtime/devices/browser-table.ts";
export type { TrainEvent } from "../train/events.ts";
export type { PreviewSpan } from "../train/sample.ts";
export type { PageData } from "./data.ts";
export { type FetchModelOptions, fetchModel } from "./fetch-model.ts";
export type { MergeIntoOptions } from "./merge.ts";
export {
  type AnswerOptions,
  type OpenModelOptions,
  openModel,
  type PageAnswers,
  type PageModel,
} from "./model.ts";
export { browserStorage } from "./opfs.ts";
export type { PageTrainOptions, SaidElsewhere } from "./train.ts";
