// lowrank/formats: readers and writers of the files, without the engine. Bytes in, typed values out.
export {
  FormatError,
  InputError,
  LowrankError,
  NotFoundError,
  type Problem,
  UnsupportedError,
} from "../errors.ts";
export type { HashedFile } from "../io/disk.ts";
export type { FileIdentity } from "../io/file-identity.ts";
export type { HashOf } from "../io/fingerprint-of.ts";
export type { OnProgress, Progress } from "../io/progress.ts";
export type { DType, TensorData } from "../tensor/dtype.ts";
export { type FloatTensor, floats, type Tensor } from "../tensor/tensor.ts";
export { baseModelOfAdapter, isForeignAdapter, readForeignAdapter } from "./foreign-adapter.ts";
export { type GgufAdapter, readGgufAdapter, writeGgufAdapter } from "./gguf/adapter.ts";
export type { GgufEntry, GgufFile, GgufValue } from "./gguf/file.ts";
export type { GgufFileType } from "./gguf/mixes.ts";
export { openGguf } from "./gguf/open.ts";
export { type GgufTensorType, quantize } from "./gguf/quantize.ts";
export { dequantize, READABLE_TYPES } from "./gguf/quants.ts";
export { type WriteModelGgufOptions, writeModelGguf } from "./gguf/save.ts";
export type { GgufArray, GgufScalarType, GgufTyped } from "./gguf/values.ts";
export { type GgufInput, writeGguf } from "./gguf/write.ts";
export { writeModelFolder } from "./hf/save.ts";
export type { WriteModelFolderOptions } from "./hf/save-files.ts";
export { type LoraFactors, type PeftFiles, peftFilesOf } from "./lora-factors.ts";
export { type MlxAdapter, readMlxAdapter, writeMlxAdapter } from "./mlx/adapter.ts";
export type {
  Classifier,
  EncoderConfig,
  ModelConfig,
  ModelSource,
  RopeConfig,
  TokenizerSource,
  WeightEntry,
} from "./model.ts";
export { openModel } from "./open-model.ts";
export {
  type AdapterContent,
  type AdapterFile,
  type AdapterOptions,
  readAdapter,
  type WriteAdapterOptions,
  writeAdapter,
} from "./peft/adapter.ts";
export type { BaseIdentity } from "./peft/base-identity.ts";
export { DEFAULT_LORA_CONFIG, type LoraConfig } from "./peft/config.ts";
export type { ModuleTensors } from "./peft/keys.ts";
export {
  type FloatDType,
  type SafetensorsInput,
  safetensorsBytes,
  type WriteSafetensorsOptions,
} from "./safetensors/encode.ts";
export { READABLE_DTYPES, type SafetensorsEntry, type SafetensorsFile } from "./safetensors/file.ts";
export { openSafetensors } from "./safetensors/read.ts";
export { writeSafetensors } from "./safetensors/write.ts";
