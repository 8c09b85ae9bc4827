import type { EncodedDataset } from "../data/examples.ts";
import { noteText } from "../data/notes.ts";
import type { Dataset } from "../data/read-dataset.ts";
import type { Rows } from "../data/rows.ts";
import { openSpill, type Spill } from "../data/spill.ts";
import { InputError, UnsupportedError } from "../errors.ts";
import { cacheFolder } from "../io/cache-folder.ts";
import type { BaseModel } from "../models/base.ts";
import { type OpenBaseOptions, openBase } from "../models/base-model.ts";
import type { Measures } from "../objectives/measures.ts";
import { ALONE } from "../parallel/group.ts";
import { jointWork } from "../parallel/joint.ts";
import type { Adaptation } from "../peft/use/active.ts";
import { adaptBase } from "../peft/use/adapted-base.ts";
import { type AdaptedModel, positionRoom } from "../peft/use/adapted-model.ts";
import type { AdapterChoice } from "../peft/use/adapter-choice.ts";
import { type ChosenDevice, chooseDevice } from "../runtime/check/choose.ts";
import { openRuntime, type Runtime } from "../runtime/runtime.ts";
import { floats } from "../tensor/tensor.ts";
import { chunkCount, maxBatchLabels } from "../train/batch.ts";
import { encodeRows, lengthLimit } from "../train/data.ts";
import { createEvaluationEngine, type EvaluationResult } from "../train/evaluation.ts";
import type { ProgressEvent, WarningEvent } from "../train/events.ts";
import { maxRowTokens } from "../train/plan.ts";
import { reporting, withProgress } from "../train/progress.ts";
import { readData } from "../train/read-data.ts";
import { referencesOf, type Sample } from "../train/sample.ts";
import { answer, promptsOf } from "../train/samples.ts";
import { taskOf } from "../train/tasks/table.ts";
import type { Task } from "../train/tasks/task.ts";
import { type EvaluationChoice, evaluationChoice } from "./options.ts";
import { bleu, exactMatch, rouge } from "./text-metrics.ts";

/** What to evaluate, and on what. Options not given have training's defaults. */
export interface EvaluateOptions extends Partial<EvaluationChoice>, OpenBaseOptions, AdapterChoice {
  readonly model: string;
}

/** Measures of a model on data. */
export interface EvaluationSummary extends Measures {
  readonly type: "result";
  readonly split: "validation" | "test";
  readonly examples: number;
  /** Labels that the loss is the mean over: tokens, or one per example. */
  readonly labelTokens: number;
  /** What was measured for: "language-modelling" | "classification" | … */
  readonly task: string;
  /** In `lossUnit`. */
  readonly loss: number;
  readonly lossUnit: string;
  readonly elapsedMs: number;
  /** By generation: shares of 0 to 1, BLEU of 0 to 100. */
  readonly exactMatch?: number;
  readonly bleu?: number;
  readonly rouge1?: number;
  readonly rougeL?: number;
}

/** What an evaluation says while it runs; the summary comes last. */
export type EvaluateEvent =
  | ProgressEvent
  | WarningEvent
  | { readonly type: "examples"; readonly done: number; readonly total: number }
  | EvaluationSummary;

/** What is scored: a base model, possibly with an adapter. */
interface Subject {
  readonly task: Task;
  readonly base: BaseModel;
  readonly model: AdaptedModel;
}

function subjectOf(
  choice: EvaluationChoice & { readonly maxLength: number },
  base: BaseModel,
  adaptation: Adaptation | null,
  data: EncodedDataset,
  task: Task,
): Subject {
  const { config, family, modules, frozen } = base;
  const wanted = choice.maxLength + (choice.generate ? choice.maxTokens : 0);
  const methods = adaptation?.methods ?? [];
  const positionCount = Math.min(positionRoom(config, methods), wanted);
  const rowTokens = maxRowTokens([data], choice.batchSize);
  return {
    task,
    base,
    model: { config, family, modules, frozen, methods, positionCount, rowTokens },
  };
}

/** Scores a model on data: loss and the measures of its task (of a decoder perplexity and token accuracy); with `generate` also
 *  exact match, BLEU and ROUGE of greedy answers, against all references of a row. Of a data set with splits the test rows count, else validation, else all.
 *  @throws InputError for everything wrong in options or data; and what opening model and adapter throws */
export async function* evaluate(options: EvaluateOptions): AsyncGenerator<EvaluateEvent> {
  const choice = evaluationChoice(options);
  const chosen = await chooseDevice(choice.device);
  const spill = openSpill(cacheFolder());
  try {
    yield* evaluation(choice, chosen, options, spill);
  } finally {
    spill.close();
  }
}

async function* evaluation(
  choice: EvaluationChoice,
  { device, notes }: ChosenDevice,
  options: EvaluateOptions,
  spill: Spill,
): AsyncGenerator<EvaluateEvent> {
  const { rows, split } = yield* rowsOf(choice, options, spill);
  const { base, opened, adaptation } = yield* withProgress(async (onProgress) => {
    const bare = await openBase(options.model, { ...options, onProgress });
    return adaptBase(bare, options, options);
  });
  const task = taskOf(base);
  if (choice.generate && task.command !== "generate")
    throw new UnsupportedError(`${base.config.architecture} generates no text: generate cannot be measured`);
  const methods = adaptation?.methods ?? [];
  const maxLength = lengthLimit(choice, base, methods);
  const { signal } = options;
  const encoded = yield* withProgress((onProgress) =>
    encodeRows(
      task.objective.labelled(rows, base),
      base,
      { ...choice, maxLength, spill, onProgress, signal },
      methods,
      task.objective,
    ),
  );
  if (!encoded)
    throw new InputError("there is nothing to measure on", [{ where: "data", message: "has no labels" }]);
  const subject = subjectOf({ ...choice, maxLength }, base, adaptation, encoded, task);
  for (const note of encoded.report.notes) yield { type: "warning", message: noteText(note) };
  for (const message of [...base.warnings, ...notes]) yield { type: "warning", message };
  for (const { warnings } of opened.values())
    for (const message of warnings) yield { type: "warning", message };
  const runtime = openRuntime({ ...choice, device });
  try {
    if (adaptation) await runtime.put({ theta: floats(adaptation.theta, [adaptation.theta.length]) });
    const started = performance.now();
    const scores = yield* score(choice, subject, encoded, runtime, options.signal);
    const answers = choice.generate
      ? yield* answersTo({ ...choice, maxLength }, subject, rows, runtime, options.signal)
      : {};
    const examples = encoded.examples.length;
    const elapsedMs = performance.now() - started;
    const { name, objective } = task;
    const { lossUnit } = objective;
    yield { type: "result", task: name, split, examples, lossUnit, ...scores, elapsedMs, ...answers };
  } finally {
    await runtime.close();
  }
}

interface SplitRows {
  readonly rows: Dataset["test"];
  readonly split: EvaluationSummary["split"];
}

async function* rowsOf(
  choice: EvaluationChoice,
  options: EvaluateOptions,
  spill: Spill,
): AsyncGenerator<EvaluateEvent, SplitRows> {
  const { offline = false, signal } = options;
  const dataset = yield* withProgress((onProgress) =>
    readData(choice, {}, { offline, spill, onProgress, signal }),
  );
  for (const note of dataset.notes) yield { type: "warning", message: noteText(note) };
  const split = dataset.test.length > 0 || dataset.validation.length === 0 ? "test" : "validation";
  return { rows: dataset[split].length > 0 ? dataset[split] : dataset.train, split };
}

async function* score(
  { batchSize }: EvaluationChoice,
  { task, base, model }: Subject,
  encoded: EncodedDataset,
  runtime: Runtime,
  signal: AbortSignal | undefined,
): AsyncGenerator<EvaluateEvent, EvaluationResult> {
  const { examples } = encoded;
  const { objective } = task;
  const stepSubject = { model, objective, chunks: chunkCount(maxBatchLabels(encoded, batchSize)) };
  const engine = await createEvaluationEngine(runtime, stepSubject, base.weights.folder, batchSize);
  const total = examples.length;
  try {
    return yield* reporting<EvaluateEvent, EvaluationResult>((report) =>
      engine.evaluate(examples, {
        onBatch: (done) => report({ type: "examples", done, total }),
        joint: jointWork(ALONE, signal),
      }),
    );
  } finally {
    await engine.close();
  }
}

type AnswerScores = Required<Pick<EvaluationSummary, "exactMatch" | "bleu" | "rouge1" | "rougeL">>;

async function* answersTo(
  { maxLength, maxTokens, batchSize, referencesField }: EvaluationChoice & { readonly maxLength: number },
  { base, model }: Subject,
  rows: Rows,
  runtime: Runtime,
  signal: AbortSignal | undefined,
): AsyncGenerator<EvaluateEvent, AnswerScores | Record<string, never>> {
  const prompts = promptsOf(base, model.methods, rows, maxLength);
  if (prompts.length < rows.length) {
    const left = rows.length - prompts.length;
    yield { type: "warning", message: `${left} of ${rows.length} rows have no prompt that can be answered` };
  }
  if (prompts.length === 0) return {};
  if (referencesField !== null && prompts.every(({ others }) => others.length === 0)) {
    const message = `no row has a field "${referencesField}"`;
    throw new InputError("there is nothing to compare with", [{ where: "referencesField", message }]);
  }
  const samples = yield* reporting<EvaluateEvent, Sample[]>((report) =>
    answer(runtime, model, base, prompts, {
      maxTokens,
      batchSize,
      signal,
      onDone: (done) => report({ type: "examples", done, total: prompts.length }),
    }),
  );
  const outputs = samples.map((s) => s.output.trim());
  const references = samples.map(referencesOf);
  const { rouge1, rougeL } = rouge(outputs, references);
  return {
    exactMatch: exactMatch(outputs, references),
    bleu: bleu(outputs, references),
    rouge1,
    rougeL,
  };
}
