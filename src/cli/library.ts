import type { OnProgress } from "../formats/model-source.ts";
import type { EvaluationEvent, ProgressEvent, WarningEvent } from "../train/events.ts";

/** A turn of a conversation. */
export interface Message {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** How to continue a prompt. */
export interface GenerateRequest {
  readonly messages?: readonly Message[];
  readonly prompt?: string;
  /** Text as it is, without the chat template. */
  readonly raw?: boolean;
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
  readonly seed?: number;
  readonly stop?: readonly string[];
  readonly signal?: AbortSignal;
}

export interface LoadRequest {
  readonly model: string;
  readonly adapter?: string;
  readonly device?: string;
  readonly threads?: number;
  readonly offline?: boolean;
  readonly onProgress?: OnProgress;
  readonly signal?: AbortSignal;
}

export interface LoadedModel {
  generate(request: GenerateRequest): AsyncIterable<{ readonly text: string; readonly id: number }>;
  close(): Promise<void>;
}

/** Measures of a model on data. */
export interface EvaluateResult extends Omit<EvaluationEvent, "type" | "step" | "isBest"> {
  readonly type: "result";
  readonly examples: number;
  /** By generation, 0 to 1 (BLEU 0 to 100). */
  readonly exactMatch?: number;
  readonly bleu?: number;
  readonly rouge1?: number;
  readonly rougeL?: number;
}

export type EvaluateEvent =
  | ProgressEvent
  | WarningEvent
  | { readonly type: "examples"; readonly done: number; readonly total: number }
  | EvaluateResult;

export type LoadModel = (request: LoadRequest) => Promise<LoadedModel>;
export type Evaluate = (request: Record<string, unknown>) => AsyncIterable<EvaluateEvent>;
export type MergeAdapter = (request: {
  readonly model: string;
  readonly adapter: string;
  readonly output: string;
  readonly dtype: string;
  readonly offline?: boolean;
  readonly onProgress?: OnProgress;
}) => Promise<unknown>;

async function imported<T>(path: string): Promise<T> {
  return (await import(path)) as T;
}

/** The trainer; loaded when a command needs it, so that the others start fast. */
export async function importTrain(): Promise<typeof import("../train/trainer.ts").train> {
  return (await import("../train/trainer.ts")).train;
}

/** Loading and generating. */
export async function importLoadModel(): Promise<LoadModel> {
  return (await imported<{ loadModel: LoadModel }>("../generate/model.ts")).loadModel;
}

/** Evaluation. */
export async function importEvaluate(): Promise<Evaluate> {
  return (await imported<{ evaluate: Evaluate }>("../train/evaluate.ts")).evaluate;
}

/** Merging. */
export async function importMerge(): Promise<MergeAdapter> {
  return (await imported<{ mergeAdapter: MergeAdapter }>("../peft/merge.ts")).mergeAdapter;
}
