/** What the comparisons use of lowrank. */
export { batchOrder } from "../../dist/data/batches.js";
export { findBundled } from "../../dist/data/bundled.js";
export { loadDataset } from "../../dist/data/dataset.js";
export { encodeDataset } from "../../dist/data/examples.js";
export { hfTensorName } from "../../dist/formats/names.js";
export { readAdapter } from "../../dist/formats/peft-adapter.js";
export { createDecoder } from "../../dist/generate/decoder.js";
export { openBase } from "../../dist/models/base-model.js";
export { moduleWeights } from "../../dist/models/family.js";
export { adapterParameters } from "../../dist/peft/adapter.js";
export { lora } from "../../dist/peft/lora.js";
export { openRuntime } from "../../dist/runtime/runtime.js";
export { encodeChat } from "../../dist/text/chat-encode.js";
export { createEvaluationEngine } from "../../dist/train/engine.js";
export { train } from "../../dist/train/trainer.js";
