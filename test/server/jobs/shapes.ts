import type OpenAI from "openai";
import type {
  CheckpointObject,
  EventObject,
  FileObject,
  JobObject,
} from "../../../src/server/jobs/objects.ts";

/** A mutable copy's type: the package knows no readonly lists. */
type Mutable<T> = T extends readonly (infer E)[]
  ? Mutable<E>[]
  : T extends object
    ? { -readonly [K in keyof T]: Mutable<T[K]> }
    : T;

/** Answers are what the package says they are: the compiler checks it. `paused` is the API's answer to a pause, and not in the package's
 *  type. */
export type Shapes = [
  Fits<Omit<JobObject, "status">, Omit<OpenAI.FineTuning.FineTuningJob, "status">>,
  Fits<Exclude<JobObject["status"], "paused">, OpenAI.FineTuning.FineTuningJob["status"]>,
  Fits<EventObject, OpenAI.FineTuning.FineTuningJobEvent>,
  Fits<CheckpointObject, OpenAI.FineTuning.Jobs.FineTuningJobCheckpoint>,
  Fits<FileObject, OpenAI.FileObject>,
];

type Fits<Ours, Theirs> = Mutable<Ours> extends Theirs ? true : { readonly differs: Ours };

/** Each is true, or the compiler says which is not. */
export const SHAPES: readonly true[] = [true, true, true, true, true] satisfies Shapes;
