// The parts of the library that the commands run. Each is loaded when its command needs it: help and errors in the
// options come before the engine is loaded.

/** The trainer. */
export async function importTrain(): Promise<typeof import("../train/trainer.ts").trainWith> {
  return (await import("../train/trainer.ts")).trainWith;
}

/** Loading and generating. */
export async function importLoadModel(): Promise<typeof import("../generate/model.ts").loadModel> {
  return (await import("../generate/model.ts")).loadModel;
}

/** Answering many requests side by side. */
export async function importOpenEngine(): Promise<typeof import("../generate/engine/open.ts").openEngine> {
  return (await import("../generate/engine/open.ts")).openEngine;
}

/** Task switching. */
export async function importMeasureSwap(): Promise<typeof import("../inspect/swap.ts").measureSwap> {
  return (await import("../inspect/swap.ts")).measureSwap;
}

/** Classifying. */
export async function importLoadClassifier(): Promise<
  typeof import("../generate/classifier.ts").loadClassifier
> {
  return (await import("../generate/classifier.ts")).loadClassifier;
}

/** Evaluation. */
export async function importEvaluate(): Promise<typeof import("../evaluate/evaluate.ts").evaluate> {
  return (await import("../evaluate/evaluate.ts")).evaluate;
}

/** Merging. */
export async function importMerge(): Promise<typeof import("../peft/merge/merge.ts").mergeAdapter> {
  return (await import("../peft/merge/merge.ts")).mergeAdapter;
}

/** Writing a model in another program's format. */
export async function importExport(): Promise<typeof import("../peft/merge/merge.ts").exportModel> {
  return (await import("../peft/merge/merge.ts")).exportModel;
}

/** Conversion of adapters. */
export async function importConvert(): Promise<typeof import("../peft/files/convert.ts").convertAdapter> {
  return (await import("../peft/files/convert.ts")).convertAdapter;
}

/** Uploads. */
export async function importPush(): Promise<typeof import("../hub/push.ts").pushFolder> {
  return (await import("../hub/push.ts")).pushFolder;
}
